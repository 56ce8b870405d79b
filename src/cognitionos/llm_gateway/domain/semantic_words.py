"""What the guards of the semantic cache know of English: lists of words, each with the one reason it is here."""

from cognitionos.kernel.english import words

FILLERS = words("""
    way ways step steps method reason possible able want wish like know tell explain give say let thing things help
    anything something truly okay ok hi hello hey thanks thank dear kind kindly quick quickly question
    um uh er erm hmm pls plz getting gets went gone describe provide explanation
    """)
"""Said around a question, not asked."""
LIGHT = words("""
    make makes making take takes taking give gives giving come comes bring look looks stay stays remain remains become
    turn use uses using used happen happens happened name number amount high command term new existing
    following still yet now allow allowed require required requirement necessary supposed
    """)
"""Adds little to a question that is otherwise the same."""
NEGATIONS = words("not no never none nobody nothing neither nor cannot without unable fail fails failed")
DATES = {
    date: names[0]
    for names in (
        ("jan", "january"),
        ("feb", "february"),
        ("march",),
        ("apr", "april"),
        ("may_",),
        ("jun", "june"),
        ("jul", "july"),
        ("aug", "august"),
        ("sep", "sept", "september"),
        ("oct", "october"),
        ("nov", "november"),
        ("dec", "december"),
        ("mon", "monday", "mondays"),
        ("tue", "tuesday", "tuesdays"),
        ("wed", "wednesday", "wednesdays"),
        ("thu", "thursday", "thursdays"),
        ("fri", "friday", "fridays"),
        ("saturday", "saturdays"),
        ("sunday", "sundays"),
        ("today",),
        ("tomorrow",),
        ("yesterday",),
        ("tonight",),
        ("weekend", "weekends"),
        ("weekday", "weekdays"),
        ("spring",),
        ("summer", "summers"),
        ("autumn", "fall_"),
        ("winter", "winters"),
        ("morning", "mornings"),
        ("noon", "midday"),
        ("afternoon", "afternoons"),
        ("evening", "evenings"),
        ("night", "nights"),
        ("midnight",),
        ("christmas",),
        ("easter",),
        ("hourly",),
        ("daily",),
        ("weekly",),
        ("monthly",),
        ("yearly", "annually", "annual"),
    )
    for date in names
}
"""Days, months and times of day. `may_` is the month: the word is told from the verb by its capital."""

MARKERS = {
    word: names[0]
    for names in (
        ("without",),
        ("except", "excluding", "besides"),
        ("instead", "rather"),
        ("only", "solely"),
        ("all", "every", "everything"),
        ("before", "prior"),
        ("after", "afterwards"),
        ("until", "till"),
        ("since",),
        ("against",),
        ("more",),
        ("less", "fewer"),
        ("most",),
        ("least",),
        ("first",),
        ("last", "latest", "recent", "final"),
        ("next",),
        ("previous", "former", "earlier"),
        ("again",),
        ("off",),
        ("under", "below", "beneath"),
        ("over", "above", "beyond"),
        ("inside", "within"),
        ("outside",),
        ("unless",),
        ("always",),
        ("other", "another", "else"),
        ("per", "each"),
        ("non",),
        ("self",),
    )
    for word in names
}
"""Small words that change what is asked about: both questions have the same of them."""

PERSONS = {
    "he": "he",
    "him": "he",
    "his": "he",
    "she": "she",
    "her": "she",
    "hers": "she",
    "they": "they",
    "them": "they",
    "their": "they",
    "we": "we",
    "us": "we",
    "our": "we",
}
MODALS = {
    word: names[0]
    for names in (
        ("can", "could", "may", "might", "able", "possible", "possibly", "allowed", "permitted"),
        ("should", "ought", "better"),
        ("must", "need", "needed", "required", "necessary", "mandatory", "obligatory"),
        ("will", "would"),
    )
    for word in names
}
"""Whether something may be, had better be, has to be or is going to be."""
PAST = words("was were did had")
PRESENT = words("is are do does will am can could should")
DIRECTIONS = {
    "from": "from",
    "to": "to",
    "into": "to",
    "onto": "to",
    "towards": "to",
    "than": "than",
    "against": "against",
    "before": "before",
    "after": "after",
    "over": "over",
    "in": "in",
    "with": "with",
    "for": "for",
    "by": "by",
    "of": "of",
    "on": "on",
    "without": "without",
    "instead": "instead",
    "about": "about",
}
STRICT_DIRECTIONS = words("by about against without with from to than")
"""Of these one does not stand for another before the same word: songs by Adele, about Adele."""
"""Words that say which part the next word plays."""

OPPOSITES = frozenset(
    words(pair.replace("/", " "))
    for pair in words(
        """
        in/out into/out
        increase/decrease increase/reduce increase/lower raise/lower raise/reduce raise/decrease rise/fall rise/drop
        gain/lose win/lose enable/disable activate/deactivate on/off start/stop start/end start/finish begin/end
        begin/stop open/close open/shut opening/closing lock/unlock block/unblock install/uninstall
        subscribe/unsubscribe add/remove add/delete add/subtract create/delete create/destroy create/remove make/break
        insert/delete insert/remove keep/delete keep/remove keep/discard save/delete save/spend upload/download
        import/export send/receive send/get give/take give/receive lend/borrow buy/sell purchase/sell buy/rent
        rent/own push/pull read/write encode/decode encrypt/decrypt compress/decompress compress/extract zip/unzip
        pack/unpack attach/detach connect/disconnect mount/unmount show/hide visible/hidden show/conceal allow/forbid
        allow/deny allow/block allow/prevent permit/forbid accept/reject accept/refuse accept/decline approve/reject
        approve/deny approve/decline grant/revoke grant/deny join/leave enter/leave enter/exit login/logout
        arrive/depart arrival/departure follow/unfollow like/dislike love/hate like/hate mute/unmute pause/resume
        suspend/resume cancel/renew cancel/confirm cancel/book upgrade/downgrade promote/demote expand/collapse
        expand/shrink grow/shrink maximize/minimize maximum/minimum max/min most/least more/less more/fewer many/few
        much/little best/worst better/worse good/bad good/evil pro/con pros/cons advantage/disadvantage
        advantages/disadvantages benefit/risk benefits/risks benefit/drawback benefits/drawbacks strength/weakness
        strengths/weaknesses positive/negative high/low higher/lower highest/lowest large/small larger/smaller
        largest/smallest big/small bigger/smaller biggest/smallest long/short longer/shorter longest/shortest
        tall/short wide/narrow thick/thin deep/shallow heavy/light fast/slow faster/slower fastest/slowest quick/slow
        early/late earlier/later earliest/latest young/old younger/older youngest/oldest new/old newer/older
        newest/oldest first/last next/previous before/after above/below over/under up/down left/right top/bottom
        upper/lower front/back front/rear forward/backward forwards/backwards inside/outside inner/outer
        internal/external indoor/outdoor inbound/outbound incoming/outgoing input/output source/destination
        source/target client/server parent/child north/south east/west northern/southern eastern/western hot/cold
        warm/cold warm/cool heat/cool wet/dry hard/soft hard/easy difficult/easy easiest/hardest simple/complex
        rich/poor cheap/expensive cheapest/dearest expensive/affordable free/paid full/empty strong/weak
        safe/dangerous safe/unsafe legal/illegal true/false right/wrong correct/incorrect valid/invalid same/different
        similar/different similarity/difference similarities/differences include/exclude inclusive/exclusive
        public/private local/remote online/offline synchronous/asynchronous sync/async static/dynamic
        mutable/immutable manual/automatic manually/automatically optional/required optional/mandatory success/failure
        succeed/fail pass/fail hire/fire employer/employee landlord/tenant teacher/student doctor/patient buyer/seller
        lender/borrower sender/receiver sender/recipient husband/wife mother/father son/daughter brother/sister
        boy/girl man/woman men/women male/female boyfriend/girlfriend king/queen uncle/aunt he/she his/her
        allow/ban permit/ban allow/prohibit permit/prohibit eat/avoid use/avoid take/avoid cause/avoid include/omit
        cause/effect causes/effects cause/prevent cause/cure cause/treat prevent/treat symptom/cause symptoms/causes
        treat/diagnose question/answer problem/solution profit/loss profit/revenue income/expense asset/liability
        assets/liabilities debit/credit deposit/withdraw deposit/withdrawal deposits/withdrawals gross/net
        supply/demand tax/refund import/export ascending/descending even/odd horizontal/vertical
        horizontally/vertically row/column rows/columns width/height key/value encoder/decoder pre/post day/night
        sunrise/sunset summer/winter alive/dead live/die birth/death born/died married/single marry/divorce
        attack/defend build/destroy find/lose remember/forget war/peace ally/enemy friend/enemy dog/cat dogs/cats
        tea/coffee sleep/wake awake/asleep breakfast/dinner lunch/dinner minimum/average maximum/average
        lossy/lossless major/minor majority/minority simple/compound singular/plural active/passive front-end/back-end
        frontend/backend stable/unstable known/unknown lead/follow love/loathe attract/repel absorb/emit inhale/exhale
        freeze/melt boil/freeze evaporate/condense inflate/deflate import/customs hardware/software
        domestic/international solid/liquid liquid/gas acid/base sweet/sour mild/severe minor/severe acute/chronic
        bull/bear long/shorted
        """
    )
)
"""Pairs that stand close in meaning and far apart in answer."""
KINDS = (
    words("red blue green yellow black white orange purple pink brown grey gray violet silver gold"),
    words("north south east west northeast northwest southeast southwest"),
    words("windows linux macos mac ubuntu debian fedora android ios iphone ipad"),
    words("python java javascript typescript ruby rust go golang php perl swift kotlin scala haskell julia"),
    words("mysql postgres postgresql sqlite oracle mongodb redis mariadb"),
    words("chrome firefox safari edge opera"),
    words("get post put patch delete"),
    words("daily weekly monthly yearly hourly"),
    words("breakfast lunch dinner supper"),
    words("mother father son daughter brother sister uncle aunt wife husband child baby"),
    words("string integer int float boolean bool list tuple array set dict dictionary object"),
    words("bike car bus train plane boat ship truck taxi motorcycle bicycle"),
    words("bachelor bachelors master masters phd doctorate diploma mba"),
    words("wifi bluetooth nfc usb hdmi ethernet"),
    words("facebook instagram twitter whatsapp snapchat youtube tiktok linkedin telegram reddit quora"),
    words("google microsoft apple amazon facebook netflix ibm intel nvidia samsung"),
)
"""Members of one kind: another member is another question."""
SAME = {
    name: names[0]
    for names in (
        ("usa", "america"),
        ("uk", "britain"),
        ("postgresql", "postgres"),
        ("javascript", "js"),
        ("typescript", "ts"),
        ("kubernetes", "k8s"),
        ("photo", "picture", "image"),
        ("int", "integer"),
        ("bool", "boolean"),
        ("dict", "dictionary"),
        ("golang", "go_"),
        ("macos", "mac"),
        ("bike", "bicycle"),
        ("gray", "grey"),
        ("tv", "television"),
    )
    for name in names
}
"""Two names of one thing."""
PREFIXES = words("""
    a an ana ante anti auto back be bi by cat cath centi co counter de deci di dis down e en endo ex exo extra fore giga
    hetero homo hyper hypo il im in infra inter intra intro ir iso kilo macro mal mega meta micro mid milli mini mis
    mono multi nano neo non ob off omni on out over para per peri peta pico poly post pre pro pseudo quasi re retro self
    semi sub suc super sur sym syn tele tera through trans tri ultra un under uni up with
    """) | {""}
"""Words that differ in these alone look alike however little is left: `uptime`, `downtime`; `repay`, `prepay`."""
ONE_WORD = {
    form: group.split("/")[0]
    for group in words(
        """
        begin/began/begun become/became bend/bent bite/bit/bitten blow/blew/blown break/broke/broken bring/brought
        build/built burn/burnt buy/bought catch/caught child/children choose/chose/chosen/choice come/came deal/dealt
        deep/depth depart/departure draw/drew/drawn drink/drank/drunk drive/drove/driven eat/ate/eaten fail/failure
        fall/fell/fallen feed/fed feel/felt fight/fought find/found fly/flew/flown/flight foot/feet
        forget/forgot/forgotten forgive/forgave/forgiven freeze/froze/frozen give/gave/given grow/grew/grown/growth
        hang/hung hear/heard hide/hid/hidden high/height hold/held keep/kept know/knew/known/knowledge lead/led
        learn/learnt leave/left lend/lent long/length lose/lost/loss make/made man/men mean/meant meet/met mouse/mice
        pay/paid receive/receipt ride/rode/ridden ring/rang/rung rise/rose/risen run/ran see/saw/seen sell/sold/sale
        send/sent shake/shook/shaken shine/shone shoot/shot shrink/shrank/shrunk sing/sang/sung sink/sank/sunk
        sleep/slept slide/slid smell/smelt speak/spoke/spoken/speech spell/spelt spend/spent spill/spilt spin/spun
        spoil/spoilt stand/stood steal/stole/stolen stick/stuck strike/struck strong/strength swear/swore/sworn
        sweep/swept swim/swam/swum take/took/taken teach/taught tear/tore/torn tell/told think/thought
        throw/threw/thrown tooth/teeth understand/understood wake/woke/woken wear/wore/worn weigh/weight wide/width
        win/won woman/women write/wrote/written administrator/admin advertisement/advert airplane/aeroplane/plane
        cheque/check configuration/config enquire/inquire enquiry/inquiry examination/exam grey/gray information/info
        introduction/intro mathematics/math photograph/photo programme/program repository/repo specification/spec
        telephone/phone tyre/tire website/site
        """
    )
    for form in group.split("/")
}
"""Forms that no rule makes, and other names of one thing that look like it."""
_HYPHENATED = (
    "ante|anti|auto|bi|co|counter|de|ex|extra|hyper|hypo|inter|intra|macro|mega|micro|mini|mono|multi|nano|neo|over|post|"
    "pre|pseudo|semi|sub|super|trans|tri|ultra|un|under"
)
PHRASES = (
    (
        r"^(?:(?:please|hi|hello|hey)[,!. ]+)*(?:can|could|would|will) (?:you|any ?one|some ?one) (?:please )?",
        "please ",
    ),
    (r"^please (?:tell me|explain(?: to me)?|show me|describe|let me know|help me understand) ", ""),
    (r"\b(?:best|right|proper|good|correct) way", "way"),
    (r"\bmost recent\b", "last"),
    (r"\bat most\b", "maximum"),
    (r"\bat least\b", "minimum"),
    (r"\ball right\b|\balright\b", "okay"),
    (r"\b(?:at the same time)\b", "together"),
    (r"\b(?:the )?united states(?: of america)?\b|\bu\.s\.(?:a\.?)?", "usa"),
    (r"\b(?:the )?united kingdom\b|\bgreat britain\b|\bu\.k\.", "uk"),
    (r"\be-mail", "email"),
    (r"\bwi-fi\b", "wifi"),
    (r"\blog-?in\b", "login"),
    (r"\bre-(?=[a-z])", "again "),
    (rf"\b({_HYPHENATED})-(?=[a-z])", r"\1"),
    (r"\b(?:turn|switch|turning|switching)((?: (?!on\b|off\b)[\w']+){0,3}) on\b", r"enable\1"),
    (r"\b(?:turn|switch|turning|switching)((?: (?!on\b|off\b)[\w']+){0,3}) off\b", r"disable\1"),
    (r"\bactivat(e|ed|es|ing)\b", "enable"),
    (r"\bdeactivat(e|ed|es|ing)\b", "disable"),
    (r"\bget rid of\b", "remove"),
    (r"\bor not\b", ""),
    (r"\bcan ?not\b|\bcan't\b", "can not"),
    (r"\bwon't\b", "will not"),
    (r"n't\b", " not"),
    (r"\b(?:an? |one |each |every |per )day\b", "daily"),
    (r"\b(?:an |each |every |per )hour\b", "hourly"),
    (r"\b(?:a |each |every |per )week\b", "weekly"),
    (r"\b(?:a |each |every |per )month\b", "monthly"),
    (r"\b(?:a |each |every |per )year\b", "yearly"),
    (r"\bnot? (?:any ?more|any longer)\b|\bno longer\b", "not anymore"),
)
"""Turns of phrase with one spelling for the rest to read; on text in lower case."""
