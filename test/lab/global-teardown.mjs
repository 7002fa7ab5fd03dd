// The logs of the last hosts stay in test-output/lab.
export default async function powerOffLab() {
  await globalThis.xlsnapLabHost?.[Symbol.asyncDispose]();
}
