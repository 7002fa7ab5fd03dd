/** The text format of OpenMetrics (github.com/prometheus/OpenMetrics), as far as gauges need it. node_exporter reads it, too. */

/** A number with the labels that tell it from others of its gauge. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A gauge: its name ends with its unit, if it has one. */
export interface Gauge {
  readonly name: string;
  readonly unit?: 'seconds' | 'bytes';
  readonly help: string;
  readonly samples: readonly Sample[];
}

/** Returns the gauges that have samples as an exposition with its end mark. */
export function openMetrics(gauges: readonly Gauge[]): string {
  return `${gauges
    .filter(({ samples }) => samples.length > 0)
    .map(exposition)
    .join('')}# EOF\n`;
}

function exposition({ name, unit, help, samples }: Gauge): string {
  const head = [`TYPE ${name} gauge`, ...(unit ? [`UNIT ${name} ${unit}`] : []), `HELP ${name} ${help}`];
  const lines = samples.map(
    ({ labels, value }) => `${name}{${Object.entries(labels).map(label).join(',')}} ${value}\n`,
  );
  return head.map((line) => `# ${line}\n`).join('') + lines.join('');
}

function label([name, value]: readonly [string, string]): string {
  const escaped = value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
  return `${name}="${escaped}"`;
}
