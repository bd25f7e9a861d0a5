// In a file of its own: it is as long as all the others, and they run side by side.
import { cuts } from "./Cuts.support.js"

cuts(["openai-responses"])
