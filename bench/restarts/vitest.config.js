export default { test: { include: ['*.race.ts'] } }
