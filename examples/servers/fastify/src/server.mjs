// A Fastify server as its documentation has it. It knows nothing of warmswap.
import Fastify from 'fastify'

const fastify = Fastify()
fastify.get('/', async () => ({ hello: 'world' }))
fastify.post('/echo', async (request) => ({ echo: request.body }))

await fastify.listen({ port: Number(process.env.PORT) })
