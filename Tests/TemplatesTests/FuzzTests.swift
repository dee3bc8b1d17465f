import CanonicalJSON
import Foundation
import SeededRandom
import Templates
import Testing

/// Whatever a template and its variables are: no trap, no long run, and no more memory than the limits say.
///
/// `SHAREDPACK_FUZZ_RUNS` sets the number of runs, `SHAREDPACK_FUZZ_SEED` where they start.
@Test("Hostile templates stop in time")
func hostileTemplatesStop() throws {
  let environment = ProcessInfo.processInfo.environment
  let runs = environment["SHAREDPACK_FUZZ_RUNS"].flatMap { Int($0) } ?? 20_000
  let seed = environment["SHAREDPACK_FUZZ_SEED"].flatMap { UInt64($0) } ?? 1
  var fuzzer = TemplateFuzzer(seed: seed)
  var slowest = (Duration.zero, "")
  var outcomes: [String: Int] = [:]
  for _ in 0..<runs {
    let source = fuzzer.nextSource()
    let variables = fuzzer.nextVariables()
    if let file = environment["SHAREDPACK_FUZZ_LAST"] {
      // What made the process stop, if it does.
      try Data(source.utf8).write(to: URL(fileURLWithPath: file))
    }
    var outcome = "rendered"
    // Of the processor: other work on the machine does not count.
    let start = processorTime()
    do {
      do throws(TemplateError) {
        let now = TemplateDate(year: 2026, month: 3, day: 9)
        let rendered = try Template(parsing: source).render(variables, now: now)
        if !areSound(rendered) { Issue.record("unsound ranges from \(source.debugDescription)") }
      } catch {
        outcome = error.name
      }
    }
    let duration = processorTime() - start
    outcomes[outcome, default: 0] += 1
    if duration > slowest.0 { slowest = (duration, source) }
    if duration > .seconds(1) { Issue.record("\(duration) for \(source.debugDescription)") }
  }
  let counts = outcomes.sorted { $0.value > $1.value }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
  print("\(runs) templates: \(counts); the slowest took \(slowest.0): \(slowest.1.prefix(300).debugDescription)")
  print("peak memory: \(peakMemory() ?? "unknown")")
  #expect(outcomes["rendered", default: 0] > runs / 100)
}

/// Ranges ascend with gaps between them, are not empty, and are ranges of whole characters of the text.
func areSound(_ rendered: RenderedText) -> Bool {
  var end = -1
  let bytes = Array(rendered.text.utf8)
  for range in rendered.markedRanges {
    guard range.lowerBound > end, !range.isEmpty, range.upperBound <= bytes.count else { return false }
    guard bytes[range.lowerBound] & 0xC0 != 0x80 else { return false }
    guard range.upperBound == bytes.count || bytes[range.upperBound] & 0xC0 != 0x80 else { return false }
    end = range.upperBound
  }
  return true
}

/// The time that this thread has had of a processor.
func processorTime() -> Duration {
  var time = timespec()
  _ = unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
}

private func peakMemory() -> String? {
  guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8) else { return nil }
  return status.split(separator: "\n").first { $0.hasPrefix("VmHWM") }.map { String($0) }
}

private struct TemplateFuzzer {
  private var random: SplitMix64
  private let sources = TemplateCase.own.map { Array($0.template.unicodeScalars) }
  private let variables = TemplateCase.own.map(\.variables)

  private static let tokens = [
    "{{ ", " }}", "{% ", " %}", "{%- ", " -%}", "{{-", "-}}", "{# ", " #}", "{% if x %}", "{% else %}", "{% endif %}",
    "{% elif y %}", "{% for x in y %}", "{% for a, b in d.items() %}", "{% endfor %}", "{% set x = ", "{% set ns.x = ",
    "{% set x %}", "{% endset %}", "{% set ns = namespace(x=[]) %}", "{% macro m(a, b=1) %}", "{% endmacro %}", "m(",
    "{{ m(1) }}", "{% call m(1) %}", "{% endcall %}", "{{ caller() }}", "{% filter upper %}", "{% endfilter %}",
    "{% with x = 1 %}", "{% endwith %}", "{% break %}", "{% continue %}", "{% raw %}", "{% endraw %}",
    "{% for x in y recursive %}", "{{ loop(x) }}", "{% generation %}", "{% endgeneration %}", "loop.index", "loop.last",
    "loop.length", "loop.previtem", "loop.nextitem", "loop.cycle(1, 2)", "loop.changed(x)", "x", "y", "d", "ns", "ns.x",
    "messages", "message", "m", "(", ")", "[", "]", "{", "}", ",", ":", ".", "=", "==", "!=", "<", "<=", ">", "+", "-",
    "*", "/", "//", "%", "**", "~", "|", " in ", " not in ", " is ", " not ", " and ", " or ", " if ", " else ",
    "0", "1", "-1", "2", "7", "100", "99999", "1000000000", "9223372036854775807", "1.5", "1e308", "1e-5", "0x1F",
    "''", "'a'", "'abc'", "\"b\"", "'é\u{1F600}'", "'%s'", "'%5.3f'", "'{:>9}'", "'{x[0].y}'", "'\\n'", "' a b '",
    "true", "none", "[]", "{}", "[1, 2, 3]", "{'a': 1}", "(1, 2)", "range(10)", "range(100000)", "range(", "dict(",
    "namespace(", "cycler(", "joiner(", "raise_exception(", "strftime_now(", "'%Y-%j %V'", "x * 1000000", "x + x",
    "[x, x]", "[x]", "x ~ x", ".items()", ".split(", ".replace(", ".join(", ".format(", ".strip(", ".upper()",
    ".title()", ".count(", ".find(", ".zfill(", ".center(", ".append(", ".get(", "[::-1]", "[1:", ":2]", "[-1]",
    "*x", "**d", "a=1", " \n ", "\r\n", "\t", "x is defined", "x is string", "self", "__class__", "caller", "varargs",
    "kwargs",
  ]

  private static let filters = [
    "abs", "attr('a')", "batch(2)", "batch(100000000, 1)", "capitalize", "center(30)", "center(1000000000)", "count",
    "d(1)", "dictsort", "e", "filesizeformat", "first", "float", "format(1)", "groupby('a')", "indent(3)",
    "indent(99999999)", "int", "items", "join(',')", "last", "list", "lower", "map('upper')", "map(attribute='a')",
    "map('string')", "max", "min", "reject('odd')", "rejectattr('a')", "replace('a', 'bb')", "replace('', 'aaa')",
    "reverse", "round(2)", "round(2, 'ceil')", "safe", "select('odd')", "selectattr('a', 'eq', 1)", "slice(3)",
    "slice(100000000)", "sort", "sort(attribute='a,b')", "string", "striptags", "sum", "title", "tojson",
    "tojson(indent=2)", "tojson(indent=100000000)", "trim", "truncate(5)", "unique", "upper", "urlencode", "wordcount",
    "wordwrap(5)", "xmlattr", "nope",
  ]

  init(seed: UInt64) { random = SplitMix64(seed: seed, name: "templates") }

  private mutating func pick<Element>(_ elements: [Element]) -> Element { elements[random.next(below: elements.count)] }

  private mutating func token() -> String {
    random.next(below: 5) == 0 ? "|" + pick(Self.filters) : pick(Self.tokens)
  }

  mutating func nextSource() -> String {
    // Loops that take all the steps there are would take all the time of the test.
    let isLong = random.next(below: 2000) == 0
    switch isLong ? random.next(below: 2) : 2 + random.next(below: 6) {
    case 0: return "{% set x = 'ab' %}{% for i in range(1000) %}{% set x = \(expression(0)) %}{{ x }}{% endfor %}"
    case 1:
      let parts = (0..<1 + random.next(below: 4)).map { _ in expression(1) }
      return "{% set ns = namespace(x='a', y=[1]) %}{% for i in range(100000) %}"
        + parts.map { "{% set ns.x = \($0) %}" }.joined() + "{% endfor %}"
    case 2, 3: return soup()
    case 4: return "{{ \(expression(0)) }}"
    default: return mutated()
    }
  }

  private mutating func soup() -> String {
    var source = ""
    for _ in 0..<1 + random.next(below: 40) { source += token() }
    return source
  }

  /// An expression that is at least well formed.
  private mutating func expression(_ depth: Int) -> String {
    guard depth < 5, random.next(below: 4) != 0 else {
      return pick(["x", "y", "d", "ns.x", "i", "'abc'", "3", "2.5", "[1, 'b']", "{'a': 1}", "none", "messages", "x[0]"])
    }
    let first = expression(depth + 1)
    switch random.next(below: 10) {
    case 0, 1, 2: return "(\(first))|\(pick(Self.filters))"
    case 3: return "(\(first) \(pick(["+", "*", "~", "-", "%", "//", "**", "<", "==", "in"])) \(expression(depth + 1)))"
    case 4: return "[\(first), \(expression(depth + 1))]"
    case 5: return "{'a': \(first), 'b': \(expression(depth + 1))}"
    case 6: return "(\(first) if \(expression(depth + 1)) else \(expression(depth + 1)))"
    case 7: return "(\(first))[\(expression(depth + 1))]"
    case 8:
      return "(\(first)).\(pick(["a", "upper()", "split('a')", "items()", "join(y)", "replace('a', x)", "get('a')"]))"
    default: return "(\(first) * \(pick(["2", "10", "1000", "100000000"])))"
    }
  }

  private mutating func mutated() -> String {
    var scalars = pick(sources)
    for _ in 0..<1 + random.next(below: 6) {
      let place = random.next(below: scalars.count + 1)
      switch random.next(below: 6) {
      case 0: scalars.insert(contentsOf: Array(token().unicodeScalars), at: place)
      case 1 where place < scalars.count: scalars.remove(at: place)
      case 2 where place < scalars.count:
        let length = min(random.next(below: 12), scalars.count - place)
        scalars.removeSubrange(place..<place + length)
      case 3 where place < scalars.count:
        let length = min(random.next(below: 30), scalars.count - place)
        scalars.insert(contentsOf: scalars[place..<place + length], at: random.next(below: scalars.count + 1))
      case 4:
        let other = pick(sources)
        let start = random.next(below: other.count + 1)
        scalars.insert(contentsOf: other[start..<min(other.count, start + 20)], at: place)
      default:
        scalars.insert(Unicode.Scalar(UInt32(random.next(below: 0xD800))) ?? " ", at: place)
      }
    }
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars)
    return String(view)
  }

  mutating func nextVariables() -> [String: TemplateValue] {
    var values: [String: TemplateValue] = [:]
    for member in pick(variables) { values[member.key] = TemplateCase.value(member.value, random.next() & 1 == 0) }
    for name in ["x", "y", "d", "ns"] where random.next(below: 3) != 0 { values[name] = value(0) }
    return values
  }

  private mutating func value(_ depth: Int) -> TemplateValue {
    switch random.next(below: depth < 3 ? 8 : 6) {
    case 0: .none
    case 1: .boolean(random.next() & 1 == 0)
    case 2: .integer(pick([0, 1, -1, 5, 100, .max, .min]))
    case 3: .float(pick([0, -0.0, 1.5, 1e300, .infinity, .nan, .leastNonzeroMagnitude]))
    case 4: .string(TemplateString(pick(["", "a", "a b  c\n", "é\u{1F600}", "{'a': 1}", "12", "<b>"]), isMarked: true))
    case 5: .string(TemplateString(String(repeating: "ab ", count: random.next(below: 2000))))
    case 6: .array((0..<random.next(below: 4)).map { _ in value(depth + 1) })
    default: .object((0..<random.next(below: 4)).map { (["a", "b", "items", "0"][$0], value(depth + 1)) })
    }
  }
}
