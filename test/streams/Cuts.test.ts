import { cuts } from "./Cuts.support.js"

cuts(["openai-chat", "anthropic", "gemini"])
