/**
 * Tables of the meanings of providers' codes, statuses and words, and the functions that look them up.
 *
 * `Verdict` reads them in the order of trust: codes, then statuses, then the words of the message. Most rows hold for
 * all providers; a row for one provider names it. `FinishReason` has the table of finish reasons.
 *
 * Gotchas: codes are compared without case, separators and the ending `Error` or `Exception`, so `rate_limit_error`,
 * `RateLimitError` and `RATE_LIMIT` are equal. Words are read only from error message fields, and a row of words
 * applies only to the kinds that it names: "reduce the prompt length" is advice on a 429 and the error itself on a 400.
 *
 * @example
 * import * as ProviderFacts from "./ProviderFacts.js"
 *
 * ProviderFacts.ofCode("ThrottlingException", "bedrock") // "RateLimited"
 * ProviderFacts.ofStatus(529, false, "anthropic") // "Overloaded"
 *
 * @since 0.1.0
 */

import type * as LlmError from "./LlmError.js"

/**
 * The tags of errors that come from a provider.
 *
 * @since 0.1.0
 * @category models
 */
export type Kind = Exclude<LlmError.Tag, "StreamInterrupted" | "CircuitOpen" | "BudgetExceeded">

// -- codes

const ZHIPU = /zhipu|bigmodel|glm|z-?ai$/
const MINIMAX = /minimax/
const MISTRAL = /mistral/
const CLOUDFLARE = /cloudflare/

/** Numbers that have a meaning at one provider only, from the providers' lists of error codes. */
const NUMBERS: ReadonlyArray<readonly [provider: RegExp, Kind, numbers: string]> = [
  [ZHIPU, "QuotaExhausted", "1113 1304 1308 1310"],
  [ZHIPU, "RateLimited", "1302 1303"],
  [ZHIPU, "Overloaded", "1305"],
  [ZHIPU, "ModelNotFound", "1211"],
  [ZHIPU, "ContextLengthExceeded", "1261"],
  [ZHIPU, "ContentFiltered", "1301"],
  [MINIMAX, "RateLimited", "1002 1039"],
  [MINIMAX, "QuotaExhausted", "1008 2056"],
  [MINIMAX, "Timeout", "1001"],
  [MINIMAX, "AuthError", "1004 2049"],
  [MINIMAX, "ContentFiltered", "1026 1027"],
  [MINIMAX, "InvalidRequest", "2013"],
  [MINIMAX, "ServerError", "1000 1013 1024 1033"],
  [MISTRAL, "RateLimited", "1300"],
  [MISTRAL, "Overloaded", "3505"],
  [MISTRAL, "ContextLengthExceeded", "3051"],
  [CLOUDFLARE, "QuotaExhausted", "3036 4006"],
  [CLOUDFLARE, "Overloaded", "3040"],
  [CLOUDFLARE, "ModelNotFound", "5007"],
  [CLOUDFLARE, "AuthError", "10000"]
]

/** Patterns of codes; the first match wins, so an exception stands before its rule. */
const STEMS: ReadonlyArray<readonly [Kind, RegExp]> = [
  [
    "InvalidResponse",
    /^tooluse(?:failed|error)|jsonvalidatefailed|outputparsefailed|malformed(?:func|tool|model|resp)/
  ],
  [
    "ContentFiltered",
    /content(?:filter|polic|moderation|block|management)|policyviolation|^invalidprompt$|(?:bio|cyber|usage|safety)polic|moderation|responsibleai|datainspection|sensitive(?:content|word)|safety|prohibitedcontent|guardrail|blocklist|flagged/
  ],
  // the limit of the server, whatever the model
  ["InvalidRequest", /toolargeafterdeco/],
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
    /permission|(?<!extra)forbidden|accessden(?:y|ied)|notallowed|unsupportedcountry|region|territory|billingdisabled|servicedisabled|consumer(?:susp|inv)|userlocation|missingscope|blocked$|onhold$|^cmek|^kms|keydisabled$|(?:account|organization)(?:is)?disabled|notauthorized/
  ]
]

/** Codes that blame the caller without saying why. They outrank a 5xx; the words of the message outrank them. */
const CALLER = /^(?:validation|badrequest|unprocessableentity|invalid(?:argument|parameter|input|params?))$/

/** Patterns of vague codes, used only if neither code, status nor words decide. */
const WEAK: ReadonlyArray<readonly [Kind, RegExp]> = [
  [
    "InvalidRequest",
    /invalid|validation|badrequest|unprocess|missing|unsupported|precondition|outofrange|illegal|param/
  ],
  ["ServerError", /internal|server|api|upstream|provider|gateway|generation|model|unknown|network/]
]

/** Codes longer than this many characters are prose, and no pattern is tried on them. */
const MAX_CODE = 80

const normal = (code: string): string => {
  // AWS appends a URL after a colon and prepends a namespace before a hash
  const bare = code.slice(0, 200).split(":")[0] ?? ""
  const name = bare.slice(bare.lastIndexOf("#") + 1)
  const key = name.toLowerCase().replace(/[^a-z0-9]/g, "")
  return key.length > MAX_CODE ? "" : key.replace(/(?:error|exception|fault)+$/, "")
}

const find = (table: ReadonlyArray<readonly [Kind, RegExp]>, key: string): Kind | undefined =>
  key === "" ? undefined : table.find(([, stem]) => stem.test(key))?.[0]

/**
 * The meaning of a code, type or exception name; `undefined` if it does not decide alone. `provider` in lower case.
 *
 * @since 0.1.0
 * @category facts
 */
export const ofCode = (code: string, provider: string): Kind | undefined => {
  const key = normal(code)
  return /^\d+$/.test(key)
    ? NUMBERS.find(([name, , numbers]) => name.test(provider) && numbers.split(" ").includes(key))?.[1]
    : find(STEMS, key)
}

/**
 * Whether a code blames the caller, and so outranks the 5xx of a gateway.
 *
 * @since 0.1.0
 * @category facts
 */
export const blamesCaller = (code: string): boolean => CALLER.test(normal(code))

/**
 * The likely meaning of a vague code, such as `invalid` or `internal`.
 *
 * @since 0.1.0
 * @category facts
 */
export const ofWeakCode = (code: string): Kind | undefined => find(WEAK, normal(code))

// -- statuses

const STATUSES: ReadonlyArray<readonly [Kind, ReadonlyArray<number>]> = [
  ["AuthError", [401, 407]],
  ["QuotaExhausted", [402]],
  ["PermissionDenied", [403, 451]],
  ["ModelNotFound", [404, 410]],
  ["ContextLengthExceeded", [413]],
  ["RateLimited", [429]],
  ["Timeout", [408, 504, 522, 524, 598, 599]],
  // 498 is Groq: no capacity in the flex tier
  ["Overloaded", [498, 529]],
  // a conflict or a lock passes: every official SDK retries 409
  ["ServerError", [409, 423, 424, 425]],
  // AWS load balancers (460) and nginx (499): the client closed the connection
  ["ConnectionError", [460, 499]]
]

/**
 * The meaning of a failing status. A redirect, which no model follows, leads to no answer here. A 503 is a provider
 * without capacity, or, with a web page, a broken proxy. A page with another status that blames the caller is a proxy's
 * refusal too.
 *
 * @since 0.1.0
 * @category facts
 */
export const ofStatus = (status: number, page: boolean, provider: string): Kind | undefined => {
  if (status < 300 || status > 599) return undefined
  if (status < 400) return "ConnectionError"
  if (status === 503) return page ? "ServerError" : "Overloaded"
  // Cohere uses 498 for a blocked, deny-listed token
  if (status === 498 && provider.includes("cohere")) return "ContentFiltered"
  const known = STATUSES.find(([, statuses]) => statuses.includes(status))
  return known?.[0] ?? (status < 500 && !page ? "InvalidRequest" : "ServerError")
}

/** No HTTP version, method or login that the server knows (501, 505, 510, 511); a wrong certificate behind it (526). */
const LASTING: ReadonlyArray<number> = [501, 505, 510, 511, 526]

/**
 * Whether an error of a server or a connection with this status comes again at each attempt: a redirect, a request that
 * no server behind this address takes, or a wrong setup.
 *
 * @since 0.2.0
 * @category facts
 */
export const isLasting = (status: number): boolean =>
  LASTING.includes(status) ||
  (status >= 300 && status < 500 && !STATUSES.some(([kind, known]) => kind === "ServerError" && known.includes(status)))

/** Codes of a parameter, or a value of one, that this model does not take, while another may. */
const UNSUPPORTED = /^unsupported(?!.*(?:country|region|model))/

const UNSUPPORTED_WORDS =
  /^unsupported (?:parameter|value)\b|(?:not supported|unsupported) (?:with|by|for|on|in) (?:this|the|that) (?:\w{1,20} )?(?:model|endpoint|provider|deployment)|(?:this|the) (?:model|endpoint|provider|deployment) does(?: not|n't) support|does(?: not|n't) support (?:the )?(?:param|value|field)/

/**
 * Whether an `InvalidRequest` asks for what another target may take.
 *
 * @since 0.2.0
 * @category facts
 */
export const isUnsupported = (codes: ReadonlyArray<string>, text: string): boolean =>
  codes.some((code) => UNSUPPORTED.test(normal(code))) || UNSUPPORTED_WORDS.test(text)

/** Fields of a request that hold the prompt, by the end of their path: `messages[1].content`. */
const PROMPT = /(?:^|[.\]])(?:content|text|input|output|prompt|instructions|system)(?:\[\d+\])*$/i

const LONG_STRING = /string too long/

/**
 * Whether a string of the request is too long, and is no part of the prompt, such as the id of a tool call. The field
 * stands in `params` or in quotes in the message.
 *
 * @since 0.2.0
 * @category facts
 */
export const isLongField = (codes: ReadonlyArray<string>, params: ReadonlyArray<string>, text: string): boolean => {
  const coded = codes.some((code) => normal(code) === "stringabovemaxlength")
  if (!coded && !LONG_STRING.test(text)) return false
  const field = params[0] ?? /['"`]([\w.[\]-]{1,200})['"`]/.exec(text)?.[1]
  return field === undefined ? coded : !PROMPT.test(field)
}

// -- words

/** A letter for each kind that words may change; `-` stands for an unknown kind. */
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
 * The meanings of words, and the kinds (see {@link LETTERS}) that they may change. The first match wins. Every pattern
 * takes linear time: no nested repetition, and gaps are bounded.
 */
const WORDS: ReadonlyArray<readonly [Kind, from: string, RegExp]> = [
  [
    "InvalidResponse",
    "I-",
    /failed to (?:call a function|generate json|parse tool)|tool call validation failed|malformed function call/
  ],
  // larger than the limit per minute: waiting never helps
  [
    "ContextLengthExceeded",
    "R",
    /\brequest (?:is )?too large|must be reduced in order to run|larger than (?:the|your) (?:rate )?limit/
  ],
  // the limit of the output, not of the context window
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
  ["ServerError", "I", /http request (?:was sent )?to (?:an )?https (?:port|server)/],
  // a limit of use that names neither money nor a long window
  [
    "RateLimited",
    "IPRS-",
    /^(?!.*(?:billing|credit|plan\b|plans\b|quota|spend|cost|budget|upgrade|subscri|balance|payment|\bday|daily|week|month)).*usage limits?\b.{0,200}\btry again\b/
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
    /(?:location|country|region|territory)[^.]{0,40}(?:not (?:supported|available|allowed)|unsupported|restricted)|not (?:available|supported|allowed) in (?:your|this|the) (?:country|region|location)|(?:permission|access) (?:is |was )?denied|insufficient permission|missing scopes?|(?:do|does)(?: not|n't) have (?:the )?(?:permission|access)|not authori[sz]ed to|operation not allowed|organization has been (?:disabled|restricted)|only authori[sz]ed (?:for|to)|not (?:yet )?available (?:for|on|in) (?:this|your) (?:subscription|plan|tier|account)|terms acceptance|not allowed to (?:use|access|call|invoke)\b/
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

/** A spent quota: credit or a long window, unless {@link PER_MINUTE} matches too. */
const QUOTA =
  /quota (?:\w{1,12} ){0,3}(?:exceeded|exhausted|reached|used up|violation)|quota (?:will|resets)|(?:exceeded|exhausted|reached|over|out of)[^.]{0,40}\bquota/

const PER_MINUTE = /(?:per|\/|a|each|this|one)[ -]?(?:minute|second|min|sec)\b|\b[rt]p[ms]\b|\b[rt]pm\b|perminute/

/** Windows of a day or longer. */
const PER_DAY = /(?:per|\/|each|this|by|to)[ -]?(?:day|week|month)\b|daily|weekly|monthly|\b[rt]pd\b/

/**
 * The meaning of an error message (as `Verdict` normalizes it), given the kind `from` that code or status suggest;
 * `undefined` if it does not change that kind. `byStatus`: whether a status suggested it.
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
 * Whether a message names a window of a day or longer, and none of a minute or shorter.
 *
 * @since 0.1.0
 * @category facts
 */
export const isDaily = (text: string): boolean => PER_DAY.test(text) && !PER_MINUTE.test(text)

/**
 * Which limit was hit, by the words and codes of the error.
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
