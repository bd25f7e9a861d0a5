/**
 * What the codes, statuses, words and finish reasons of providers mean: tables, and the few functions that look
 * something up in them.
 *
 * `Classify` asks in the order of trust: codes, then statuses, then the words of the message. A row stands for a rule
 * that holds across providers wherever it can; facts that belong to one provider name it.
 *
 * Gotchas: codes are compared without case, separators and the ending `Error` or `Exception`, so `rate_limit_error`,
 * `RateLimitError` and `RATE_LIMIT` are one. Words are read only from error message fields and only where the status
 * leaves a question open: "reduce the prompt length" on a 429 is advice, on a 400 it is the error.
 *
 * @example
 * import * as ProviderFacts from "./ProviderFacts.js"
 *
 * ProviderFacts.ofCode("ThrottlingException", "bedrock") // "RateLimited"
 * ProviderFacts.finishReason("end_turn") // "stop"
 *
 * @since 0.1.0
 */
import type * as LlmError from "./LlmError.js"

/**
 * The tags that something a server said can mean.
 *
 * @since 0.1.0
 * @category models
 */
export type Kind = Exclude<LlmError.Tag, "StreamInterrupted" | "CircuitOpen" | "BudgetExceeded">

// -- codes

/** Numbers that only their own provider explains. */
const NUMBERS: ReadonlyArray<readonly [provider: RegExp, facts: ReadonlyArray<readonly [Kind, numbers: string]>]> = [
  [
    /zhipu|bigmodel|glm|z-?ai$/,
    [
      ["QuotaExhausted", "1113 1304 1308 1310"],
      ["RateLimited", "1302 1303"],
      ["Overloaded", "1305"],
      ["ModelNotFound", "1211"],
      ["ContextLengthExceeded", "1261"],
      ["ContentFiltered", "1301"]
    ]
  ],
  [
    /minimax/,
    [
      ["RateLimited", "1002 1039"],
      ["QuotaExhausted", "1008 2056"],
      ["Timeout", "1001"],
      ["AuthError", "1004 2049"],
      ["ContentFiltered", "1026 1027"],
      ["InvalidRequest", "2013"],
      ["ServerError", "1000 1013 1024 1033"]
    ]
  ],
  [
    /mistral/,
    [
      ["RateLimited", "1300"],
      ["Overloaded", "3505"],
      ["ContextLengthExceeded", "3051"]
    ]
  ],
  [
    /cloudflare/,
    [
      ["QuotaExhausted", "3036 4006"],
      ["Overloaded", "3040"],
      ["ModelNotFound", "5007"],
      ["AuthError", "10000"]
    ]
  ]
]

/** Stems of codes, the first match wins. Exceptions stand before the rule that they break. */
const STEMS: ReadonlyArray<readonly [Kind, RegExp]> = [
  [
    "InvalidResponse",
    /^tooluse(?:failed|error)|jsonvalidatefailed|outputparsefailed|malformed(?:func|tool|model|resp)/
  ],
  [
    "ContentFiltered",
    /content(?:filter|polic|moderation|block|management)|policyviolation|^invalidprompt$|(?:bio|cyber|usage|safety)polic|moderation|responsibleai|datainspection|sensitive(?:content|word)|safety|prohibitedcontent|guardrail|blocklist|flagged/
  ],
  [
    "ContextLengthExceeded",
    /context(?:length|window|size|limit)|maxprompttokens|(?:prompt|input|request|message|payload|entity|content|body)toolar?(?:ge|ng)|(?:prompt|input|message)s?toolong|tokenslimitreached|stringabovemaxlength|toomanyinputtokens/
  ],
  ["InvalidRequest", /image|methodnotallowed|(?:response|conversation|file|thread|item|vectorstore)notfound/],
  [
    "RateLimited",
    /ratelimit|throttl|toomany(?:req|tok|conc)|(?:token|request)quotaexceeded|requestlimit|concurren|limit(?:requests|burst)|resource(?:hasbeen)?exhausted|inflightbudget|frequency/
  ],
  [
    "QuotaExhausted",
    /quota|balance|insufficient(?:credit|fund|user)|credits?(?:exhaust|limit|deplet|requir|low|exceed)|billing(?!disabled)|payment(?:required|needed)|budgetexceeded|exceededbudget|spend(?:ing)?(?:limit|cap)|arrear|overdue|usagelimit|usagenotincluded|(?:dai|month|week)ly(?:limit|usage)|(?:outof|no)credit|freetier/
  ],
  [
    "Overloaded",
    /overload|capacity|slowdown|notready|unavailable|busy|(?:model|server)(?:is|still)?loading|nohealthy|insufficientsystemresource/
  ],
  ["Timeout", /timeout|timedout|deadlineexceeded/],
  [
    "AuthError",
    /apikey(?!.*(?:block|permission))|authentication(?!type)|unauthenticated|unauthori[sz]ed|(?:expired|invalid|access|security|clientid).{0,9}token|token(?:has)?(?:is)?(?:expired|invalid)|(?:missing|invalid|bad)(?:auth|cred)|unrecognizedclient|signature|accountdeactivated|(?:incorrect|invalid|expired|missing)key|key(?:invalid|expired)/
  ],
  [
    "ModelNotFound",
    /model(?:id|name)?(?:is|does|was|has|been)*(?:not|decom|depre|retired|invalid)(?!allowed)|(?:invalid|unknown|unsupported)model|notfound|unknownoperation|nosuchmodel/
  ],
  [
    "PermissionDenied",
    /permission|(?<!extra)forbidden|accessden(?:y|ied)|notallowed|unsupportedcountry|region|territory|billingdisabled|servicedisabled|consumer(?:susp|inv)|userlocation|missingscope|blocked$|(?:account|organization)(?:is)?disabled|notauthorized/
  ]
]

/** Codes that say the caller is wrong and nothing more; they outrank a gateway's 5xx but no word of the message. */
const CALLER = /^(?:validation|badrequest|unprocessableentity|invalid(?:argument|parameter|input|params?))$/

/** Codes that say next to nothing; used only where no status helps. */
const WEAK: ReadonlyArray<readonly [Kind, RegExp]> = [
  [
    "InvalidRequest",
    /invalid|validation|badrequest|unprocess|missing|unsupported|precondition|outofrange|illegal|param/
  ],
  ["ServerError", /internal|server|api|upstream|provider|gateway|generation|model|unknown|network/]
]

/** Codes longer than this are prose of which no stem can be trusted. */
const MAX_CODE = 80

const normal = (code: string): string => {
  // AWS appends a URL after a colon and prepends a namespace before a hash
  const bare = code.slice(0, 200).split(":")[0] ?? ""
  const name = bare.slice(bare.lastIndexOf("#") + 1)
  const key = name.toLowerCase().replace(/[^a-z0-9]/g, "")
  return key.length > MAX_CODE ? "" : key.replace(/(?:error|exception|fault)+$/, "")
}

const first = (table: ReadonlyArray<readonly [Kind, RegExp]>, key: string): Kind | undefined => {
  if (key === "") return undefined
  for (const [kind, stem] of table) if (stem.test(key)) return kind
  return undefined
}

/**
 * What a code (or type, or exception name) means, or undefined when it does not decide alone.
 *
 * @since 0.1.0
 * @category facts
 */
export const ofCode = (code: string, provider: string): Kind | undefined => {
  const key = normal(code)
  if (/^\d+$/.test(key)) {
    const facts = NUMBERS.find(([name]) => name.test(provider))?.[1]
    return facts?.find(([, numbers]) => numbers.split(" ").includes(key))?.[0]
  }
  return first(STEMS, key)
}

/**
 * Whether a code blames the caller plainly enough to outrank a 5xx that a gateway put around it.
 *
 * @since 0.1.0
 * @category facts
 */
export const blamesCaller = (code: string): boolean => CALLER.test(normal(code))

/**
 * The last resort: what a code that says next to nothing suggests.
 *
 * @since 0.1.0
 * @category facts
 */
export const ofWeakCode = (code: string): Kind | undefined => first(WEAK, normal(code))

// -- statuses

const STATUSES: ReadonlyMap<number, Kind> = new Map<number, Kind>([
  [401, "AuthError"],
  [402, "QuotaExhausted"],
  [403, "PermissionDenied"],
  [404, "ModelNotFound"],
  [407, "AuthError"],
  [408, "Timeout"],
  // a conflict or a lock passes: every official SDK retries 409
  [409, "ServerError"],
  [410, "ModelNotFound"],
  [413, "ContextLengthExceeded"],
  [423, "ServerError"],
  [424, "ServerError"],
  [425, "ServerError"],
  [429, "RateLimited"],
  [451, "PermissionDenied"],
  // AWS load balancers and nginx: the side that asked went away
  [460, "ConnectionError"],
  [499, "ConnectionError"],
  // Groq: no capacity in the flex tier
  [498, "Overloaded"],
  [504, "Timeout"],
  [522, "Timeout"],
  [524, "Timeout"],
  [529, "Overloaded"],
  [598, "Timeout"],
  [599, "Timeout"]
])

/**
 * What a failing status means alone. A 503 is a provider without capacity, unless it is the web page of a proxy.
 *
 * @since 0.1.0
 * @category facts
 */
export const ofStatus = (status: number, html: boolean, provider: string): Kind | undefined => {
  if (status < 400 || status > 599) return undefined
  if (status === 503) return html ? "ServerError" : "Overloaded"
  // Cohere uses 498 for a blocked, deny-listed token
  if (status === 498 && provider.includes("cohere")) return "ContentFiltered"
  return STATUSES.get(status) ?? (status < 500 ? "InvalidRequest" : "ServerError")
}

// -- words

/** One letter a kind that words may change; `-` stands for nothing known. */
const LETTERS: { readonly [K in Kind]?: string } = {
  InvalidRequest: "I",
  AuthError: "A",
  PermissionDenied: "P",
  RateLimited: "R",
  ServerError: "S",
  Overloaded: "O",
  QuotaExhausted: "Q"
}

/**
 * What words mean, and from which kinds (see {@link LETTERS}) they may turn an error: the first match wins. Every
 * pattern is linear: no nested repetition, and gaps are bounded.
 */
const WORDS: ReadonlyArray<readonly [Kind, from: string, RegExp]> = [
  [
    "InvalidResponse",
    "I-",
    /failed to (?:call a function|generate json|parse tool)|tool call validation failed|malformed function call/
  ],
  // larger than the budget per minute: waiting never helps
  [
    "ContextLengthExceeded",
    "R",
    /\brequest (?:is )?too large|must be reduced in order to run|larger than (?:the|your) (?:rate )?limit/
  ],
  // the cap on output, which is not the window
  [
    "InvalidRequest",
    "I-S",
    /max_(?:completion_|output_|new_)?tokens[`'"]? ?:? ?must be less than|\bimage\b.{0,80}(?:exceed|too large|maximum)|^(?!.*(?:context|prompt|input)).{0,80}max(?:imum)?[_ ](?:[a-z]{1,12}[_ ])?tokens.{0,200}(?:at most|output|model limit|too large|maximum allowed|less than|lower than|between|range)/
  ],
  [
    "ContextLengthExceeded",
    "I-SO",
    /context[ _-]?(?:length|window|size|limit)|maximum context|prompt (?:is |was )?too (?:long|large)|(?:input|prompt|message|conversation|request|text)s? (?:is|are|was|were|body|text)? ?(?:too|is too) (?:long|large)|too (?:long|large) for (?:the |requested )?\S{0,60} ?model|too many (?:input |total |prompt )?tokens|token count.{0,60}(?:exceed|only supports)|exceeds? .{0,60}(?:number of (?:input )?tokens|token limit|tokens allowed|token count|input length|prompt length|length limit)|(?:prompt|input|messages?|sequence).{0,60}(?:exceeds?|longer than|larger than).{0,60}(?:length|limit|max|context|tokens)|tokens? (?:exceeds?|in the prompt)|(?:reduce|shorten) (?:the )?(?:length|size|number of tokens|your (?:prompt|input|message))|maximum (?:prompt|input|sequence) (?:length|tokens)|range of input length|inputs?`? (?:tokens|must have less)|must be at least 1, got -|string too long|text fields that are too large|payload size exceeds|token limit exceeded|expected maxlength|exceeded model token limit/
  ],
  [
    "ContentFiltered",
    "IP-S",
    /flagged|moderation|content (?:management |usage |safety )?(?:policy|policies|filter|violat|guidelines|exists risk)|content[- ]filter|safety (?:system|policy|policies|guidelines|filter|check|reason)|violat\w{1,5} .{0,60}(?:polic|guideline|terms|rules)|usage (?:polic|guideline)|responsible ai|inappropriate|sensitive (?:content|information|word)|high[- ]risk|unsafe content|prohibited (?:content|use)|deny-?list|blocked by .{0,60}(?:filter|guardrail|safety|policy|classifier)|guardrail|敏感|违规|不安全/
  ],
  [
    "QuotaExhausted",
    "IPRSAO-",
    /insufficient[ _-](?:\w{1,12} )?(?:balance|credits?|funds|quota)|(?:balance|credits?|funds) (?:(?:is|are|has|have|been|was) ){0,3}(?:too low|not enough|insufficient|exhausted|depleted|used up|run out)|(?:out of|need more|requires? more|not enough|exceeded your|remaining|used all|consumed all)(?: [\w-]{1,12}){0,4} credits?\b|no (?:remaining )?credits? (?:left|remaining|available)|billing (?:hard )?limit|account is not active|(?:spend(?:ing)?|cost|usage|billing) (?:limit|cap|budget)s?\b|budget has been exceeded|exceeded (?:your|their|the|its) budget|(?:add|purchase|buy) (?:more )?credits|prepa(?:id|yment) credits|arrear|good standing|please (?:recharge|top[ -]?up)|\bkey limit exceeded|extra usage|欠费|余额|充值/
  ],
  ["QuotaExhausted", "R", /\blimit: 0(?![\d.]\d)/],
  [
    "ModelNotFound",
    "IS-",
    /\bmodel\b[^.]{0,120}?\b(?:(?:does|do|did) not exist|not exist|not found|isn't available|is not (?:available|supported|found|accessible|valid|a valid)|(?:has been|is|was) (?:deprecated|decommissioned|retired|removed|shut down|no longer)|reached (?:the|its) end)|(?:unknown|unsupported|invalid|no such|non-serverless) model\b|(?:invalid|unknown) model (?:name|id|identifier)|model (?:identifier|id|name) (?:\S{1,80} )?is (?:invalid|not)|not a valid model|on-demand throughput|no endpoints? (?:found|available)|could not find model|does not exist or you do not have access|try pulling it/
  ],
  [
    "AuthError",
    "IPS-",
    /(?:incorrect|invalid|bad|wrong|missing|expired|no|unknown) (?:or \w{1,10} )?(?:x-)?api[- _]?(?:key|token)|api[- _]?(?:key|token)[^.]{0,60}(?:not valid|invalid|incorrect|expired|revoked|leaked|disabled|missing|required|not found)|(?:invalid|missing|no) (?:authentication|auth|credential|authorization|bearer|access token)|authentication (?:fail|error|required)|unauthori[sz]ed\b(?! region)|(?:token|credentials?)[^.]{0,40}(?:expired|revoked)|security token|provide an api key|established identity/
  ],
  [
    "PermissionDenied",
    "I-",
    /(?:location|country|region|territory)[^.]{0,40}(?:not (?:supported|available|allowed)|unsupported|restricted)|not (?:available|supported|allowed) in (?:your|this|the) (?:country|region|location)|(?:permission|access) (?:is |was )?denied|insufficient permission|missing scopes?|(?:do|does)(?: not|n't) have (?:the )?(?:permission|access)|not authori[sz]ed to|operation not allowed|organization has been (?:disabled|restricted)|only authori[sz]ed (?:for|to)|not (?:yet )?available (?:for|on|in) (?:this|your) (?:subscription|plan|tier|account)|terms acceptance/
  ],
  ["PermissionDenied", "A", /insufficient permission|missing scopes?/],
  [
    "ServerError",
    "O",
    /upstream connect error(?!.{0,200}overflow)|disconnect\/reset before headers(?!.{0,200}overflow)|connection (?:refused|reset|terminat|fail)/
  ],
  ["RateLimited", "O", /\brate[- ]?limit(?:ed|s)? ?(?:exceed|reach|hit|error)/],
  [
    "Overloaded",
    "RSI-",
    /overload|(?:at|over|no|insufficient|out of|not enough|limited|lack of) (?:\w{1,12} )?capacity|capacity (?:\w{1,12} )?(?:exceeded|reached|constraint|limit|is full)|(?:server|service|model|engine|system|endpoint|currently) (?:is )?(?:currently |too |very )?busy|too busy|heavy load|high (?:demand|traffic|load|volume)|(?:currently|still|model is) loading|loading model|not ready|no healthy|temporarily unavailable|currently unavailable|pending requests|queue (?:is )?(?:full|limit)|no (?:available|instances)|total request limit reached|try again when|访问量过大|繁忙|无可用/
  ],
  ["Timeout", "S-", /tim(?:ed|e|ing)[- ]?out|deadline (?:was )?exceeded|took too long/],
  [
    "RateLimited",
    "ISP-",
    /\brate[- ]?limit(?:ed|ing|s)?\b.{0,60}(?:exceed|reach|hit|error|per|upstream)|(?:exceed|reach|hit)\w{0,3} .{0,80}\brate[- ]?limit|rate[- ]?limited|too many (?:concurrent )?requests|throttl|(?:requests|queries|calls|tokens) (?:per|\/) ?(?:min|sec)|slow down/
  ]
]

/** A spent quota, which is money or a long window unless the message speaks of minutes. */
const QUOTA =
  /quota (?:\w{1,12} ){0,3}(?:exceeded|exhausted|reached|used up|violation)|quota (?:will|resets)|(?:exceeded|exhausted|reached|over|out of)[^.]{0,40}\bquota/

const PER_MINUTE = /(?:per|\/|a|each|this|one)[ -]?(?:minute|second|min|sec)\b|\b[rt]p[ms]\b|\b[rt]pm\b|perminute/

/** Windows of a day and more. */
const PER_DAY = /(?:per|\/|each|this|by|to)[ -]?(?:day|week|month)\b|daily|weekly|monthly|\b[rt]pd\b/

/**
 * What the words of a message make of an error that its code or status left open.
 *
 * @since 0.1.0
 * @category facts
 */
export const ofWords = (text: string, from: Kind | undefined, byStatus: boolean): Kind | undefined => {
  const letter = from === undefined ? "-" : LETTERS[from]
  if (letter === undefined) return undefined
  if (letter === "Q") return !byStatus && PER_MINUTE.test(text) && !PER_DAY.test(text) ? "RateLimited" : undefined
  for (const [kind, kinds, words] of WORDS) if (kinds.includes(letter) && words.test(text)) return kind
  const open = letter === "R" ? byStatus : "IPS-".includes(letter)
  return open && QUOTA.test(text) ? (PER_MINUTE.test(text) ? "RateLimited" : "QuotaExhausted") : undefined
}

/**
 * Whether a message speaks of a window of a day or longer and of no shorter one.
 *
 * @since 0.1.0
 * @category facts
 */
export const isDaily = (text: string): boolean => PER_DAY.test(text) && !PER_MINUTE.test(text)

/**
 * Which limit a rate limit is about, by the words and types that name it.
 *
 * @since 0.1.0
 * @category facts
 */
export const scope = (text: string): "requests" | "tokens" | "day" | undefined =>
  isDaily(text)
    ? "day"
    : /\btokens?\b|\btpm\b|_token_|inputtokens/.test(text)
      ? "tokens"
      : /\brequests?\b|\brpm\b|queries|calls|concurren/.test(text)
        ? "requests"
        : undefined

// -- finish reasons

/**
 * What the end of an answer means.
 *
 * @since 0.1.0
 * @category models
 */
export type FinishMeaning =
  | "stop"
  | "length"
  | "tool-calls"
  | "content-filter"
  | "error"
  | "malformed"
  | "none"
  | "other"

const FINISH: ReadonlyMap<string, FinishMeaning> = new Map(
  (
    [
      ["stop", "stop end_turn stop_sequence eos eos_token complete completed done finish_reason_stop"],
      [
        "length",
        "length max_tokens max_output_tokens max_length model_length model_context_window_exceeded error_limit token_limit"
      ],
      ["tool-calls", "tool_calls tool_use tool_call function_call"],
      [
        "content-filter",
        "content_filter content_filtered safety refusal recitation blocklist prohibited_content spii language guardrail_intervened image_safety image_prohibited_content image_recitation error_toxic sensitive model_armor content_policy_violation"
      ],
      ["error", "error failed abort aborted cancelled network_error insufficient_system_resource timeout unexpected"],
      [
        "malformed",
        "malformed_function_call malformed_tool_use malformed_model_output malformed_response unexpected_tool_call too_many_tool_calls missing_thought_signature no_image"
      ],
      ["none", "null none in_progress finish_reason_unspecified"]
    ] as const
  ).flatMap(([meaning, reasons]) => reasons.split(" ").map((reason) => [reason, meaning] as const))
)

/**
 * What a finish or stop reason means, over all providers and spellings; nothing yet (`null`, `""`) is `"none"`.
 *
 * @since 0.1.0
 * @category facts
 */
export const finishReason = (reason: string | null | undefined): FinishMeaning =>
  reason == null || reason === ""
    ? "none"
    : (FINISH.get(reason) ?? (reason.length > 64 ? "other" : (FINISH.get(reason.toLowerCase()) ?? "other")))
