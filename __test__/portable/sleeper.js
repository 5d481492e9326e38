// A process that does nothing and is killed. It ends by itself if that is forgotten.
setTimeout(() => {}, 120_000)
