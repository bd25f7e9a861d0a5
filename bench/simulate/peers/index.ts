/** The policies to compare with, from what is written first to what gateways do. */
import type { Policy } from "../contract.js"
import { aiSdk, aiSdkTen } from "./ai-sdk.js"
import { awsAdaptive, awsStandard } from "./aws.js"
import { cockatiel, cockatielTen } from "./cockatiel.js"
import { litellm } from "./litellm.js"
import { everySecond, once } from "./naive.js"
import { openai, openaiTen } from "./openai.js"
import { pRetryPolicy } from "./p-retry.js"
import { portkey } from "./portkey.js"

export const peers: ReadonlyArray<Policy> = [
  once,
  everySecond,
  openai,
  openaiTen,
  aiSdk,
  aiSdkTen,
  pRetryPolicy,
  cockatiel,
  cockatielTen,
  litellm,
  portkey,
  awsStandard,
  awsAdaptive
]
