/** Lifecycle events of libvirt (virDomainEventType and its details): those that snapshots cause or must hide. */

/** A virDomainEventType with its detail, as libvirt's numbers. */
export interface LifecycleEvent {
  readonly event: number;
  readonly detail: number;
}

const of = (event: number, detail: number): LifecycleEvent => ({ event, detail });

/** The events by name. */
export const LIFECYCLE = {
  DEFINED_ADDED: of(0, 0),
  DEFINED_UPDATED: of(0, 1),
  DEFINED_RENAMED: of(0, 2),
  DEFINED_FROM_SNAPSHOT: of(0, 3),
  UNDEFINED_REMOVED: of(1, 0),
  UNDEFINED_RENAMED: of(1, 1),
  STARTED_BOOTED: of(2, 0),
  STARTED_RESTORED: of(2, 2),
  STARTED_FROM_SNAPSHOT: of(2, 3),
  STARTED_WAKEUP: of(2, 4),
  SUSPENDED_PAUSED: of(3, 0),
  SUSPENDED_RESTORED: of(3, 4),
  SUSPENDED_FROM_SNAPSHOT: of(3, 5),
  RESUMED_UNPAUSED: of(4, 0),
  RESUMED_FROM_SNAPSHOT: of(4, 2),
  STOPPED_SHUTDOWN: of(5, 0),
  STOPPED_DESTROYED: of(5, 1),
  STOPPED_CRASHED: of(5, 2),
  STOPPED_SAVED: of(5, 4),
  STOPPED_FROM_SNAPSHOT: of(5, 6),
  SHUTDOWN_HOST: of(6, 2),
  PMSUSPENDED_MEMORY: of(7, 0),
} as const;
