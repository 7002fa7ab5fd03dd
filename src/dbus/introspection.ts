/** Introspection data (D-Bus Specification, "Introspection Data Format"), made from the tables of the interfaces. */

import type { Arguments, Interface } from './interface.ts';

/** The part of an interface that introspection shows. */
export type Described = Pick<Interface<never>, 'name' | 'methods' | 'signals'> & {
  readonly properties: Readonly<Record<string, { readonly type: string }>>;
};

const DOCTYPE = `<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
                      "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
`;

/** Interfaces that every object has, in the specification's own words. */
const STANDARD = {
  peer: `  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping"/>
    <method name="GetMachineId">
      <arg name="machine_uuid" type="s" direction="out"/>
    </method>
  </interface>
`,
  introspectable: `  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect">
      <arg name="xml_data" type="s" direction="out"/>
    </method>
  </interface>
`,
  properties: `  <interface name="org.freedesktop.DBus.Properties">
    <method name="Get">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="out"/>
    </method>
    <method name="GetAll">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="properties" type="a{sv}" direction="out"/>
    </method>
    <method name="Set">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="in"/>
    </method>
  </interface>
`,
} as const;

/** Returns an object's document: its interfaces, and the last parts of its children's paths. */
export function introspection(interfaces: readonly Described[], children: readonly string[]): string {
  const standard = [STANDARD.peer, STANDARD.introspectable, ...(interfaces.length > 0 ? [STANDARD.properties] : [])];
  const nodes = children.map((child) => `  <node name="${child}"/>\n`);
  return [DOCTYPE, '<node>\n', ...standard, ...interfaces.map(describe), ...nodes, '</node>\n'].join('');
}

function describe({ name, properties, methods, signals }: Described): string {
  const body = [
    ...Object.entries(properties).map(([property, { type }]) => {
      return `    <property name="${property}" type="${type}" access="read">\n${UNTOLD}    </property>\n`;
    }),
    ...Object.entries(methods).map(([method, { takes, gives }]) =>
      element('method', method, [...args(takes, ' direction="in"'), ...args(gives, ' direction="out"')]),
    ),
    ...Object.entries(signals).map(([signal, values]) => element('signal', signal, args(values, ''))),
  ];
  return `  <interface name="${name}">\n${body.join('')}  </interface>\n`;
}

/** A property changes without a PropertiesChanged. */
const UNTOLD = `      <annotation name="org.freedesktop.DBus.Property.EmitsChangedSignal" value="false"/>\n`;

function element(kind: 'method' | 'signal', name: string, content: readonly string[]): string {
  if (content.length === 0) return `    <${kind} name="${name}"/>\n`;
  return `    <${kind} name="${name}">\n${content.join('')}    </${kind}>\n`;
}

function args(values: Arguments, direction: string): readonly string[] {
  return Object.entries(values).map(([name, type]) => `      <arg name="${name}" type="${type}"${direction}/>\n`);
}
