export const SYSTEMS: readonly string[];
export const RELEASED_SYSTEMS: readonly string[];
export const HOST_TESTS: readonly string[];
export const FAST_TESTS: readonly string[];
export const PACKING_TESTS: readonly string[];
export const NPM_TEST_PART: {
  readonly root: readonly string[];
  readonly hosts: readonly string[];
  readonly lab: { readonly paths: readonly string[]; readonly names: readonly string[] };
};
export const IN_OVERLAY: string;
export const PIVOT: string;
export const DEMO: readonly string[];
