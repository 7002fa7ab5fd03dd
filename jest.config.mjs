// One configuration, one project per kind of test: the command line picks (--selectProjects unit property integration hostile long lab).
const project = (displayName, more = {}) => ({
  displayName,
  rootDir: import.meta.dirname,
  roots: [`<rootDir>/test/${displayName}`],
  testMatch: ['**/*.test.ts'],
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '\\.ts$': ['@swc/jest', { jsc: { target: 'es2023', parser: { syntax: 'typescript' } } }] },
  ...more,
});

// A project's own testTimeout has no effect.
const patient = { setupFilesAfterEnv: ['<rootDir>/test/support/patience.ts'] };

export default {
  projects: [
    project('unit', patient),
    project('property'),
    project('integration', patient),
    // Clients, guests, images and users that mean harm, and what they must not reach.
    project('hostile', patient),
    // Faults in every step of every operation, and many operations for long.
    project('faults'),
    // Tests that take long: libvirt's recorded commands, a million mutated frames, commands side by side with virsh.
    project('long', patient),
    project('lab', {
      globalSetup: '<rootDir>/test/lab/global-setup.mjs',
      globalTeardown: '<rootDir>/test/lab/global-teardown.mjs',
    }),
  ],
};
