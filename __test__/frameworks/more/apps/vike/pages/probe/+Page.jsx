import { useData } from 'vike-react/useData'

export default () => <div>{useData().text}</div>
