// The report, step by step, the same for both methods.
import { createProject } from './project.js'
import { startWorker } from './worker.js'

export async function play(createWay) {
  const project = await createProject()
  let reached = () => {}
  const way = await createWay(project, { afterBuild: () => reached() })
  try {
    const seen = {}
    await way.build()
    seen.firstStart = await callOnce(way)

    // Two builds overlap: the second begins when esbuild has written the files of the first, which has not ended.
    await project.edit(2)
    let overlapping
    reached = async () => {
      reached = () => {}
      overlapping = way.build()
      // As long as a slow plugin takes: the second build empties the folder and joins this one.
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    await way.build()
    await overlapping
    seen.filesAfterOverlap = await way.files()
    seen.startAfterOverlap = await callOnce(way)

    // A worker runs in the bundle while the next rebuild fails.
    await project.edit(3)
    await way.build()
    const held = way.acquire()
    const worker = await startWorker(held.path)
    await project.breakIt()
    await way.build()
    seen.runningWorkerAfterFailedBuild = await worker.call()
    seen.startAfterFailedBuild = await callOnce(way)
    await worker.stop()
    held.release()
    return seen
  } finally {
    await way.close()
    await project.remove()
  }
}

/** Starts a worker on the bundle that the server considers current, and calls it. */
async function callOnce(way) {
  const held = way.acquire()
  const worker = await startWorker(held.path)
  const { answer, error } = await worker.call()
  await worker.stop()
  held.release()
  return answer ?? error
}
