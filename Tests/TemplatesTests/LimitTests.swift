import Templates
import Testing

private func error(_ source: String, _ variables: [String: TemplateValue] = [:], limits: TemplateLimits = .init())
  -> TemplateError?
{
  do throws(TemplateError) {
    _ = try Template(parsing: source).render(variables, limits: limits)
    return nil
  } catch {
    return error
  }
}

@Suite("Limits")
struct LimitTests {
  @Test(
    "What would take too much is refused",
    arguments: [
      ("{{ 'a' * 10 ** 9 }}", "too-much-memory"),
      ("{{ [0] * 10 ** 9 }}", "too-much-memory"),
      ("{{ 'a' * 9223372036854775807 }}", "too-much-memory"),
      ("{% for i in range(10 ** 9) %}{% endfor %}", "operation"),
      ("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", "too-many-steps"),
      (
        "{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "too-much-memory"
      ),
      (
        "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
        "too-many-steps"
      ),
      (
        "{% set ns = namespace(x=[1]) %}{% for i in range(999) %}{% set ns.x = [ns.x] %}{% endfor %}", "nested-too-deep"
      ),
      ("{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}", "nested-too-deep"),
      ("{% for i in range(9999) %}{{ 'abcdefgh' * 1000 }}{% endfor %}", "output-too-long"),
      ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested-too-deep"),
      ("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "nested-too-deep"),
      ("{{ 'a'|center(10 ** 10) }}", "too-much-memory"),
      ("{{ '%999999999d' % 1 }}", "operation"),
      ("{{ ('a' * 1000000).replace('', 'abcdefghijklmnop' * 1000) }}", "too-much-memory"),
      ("{{ ('a\n' * 100000)|indent(10 ** 7) }}", "too-much-memory"),
      ("{{ [[1]]|tojson(indent=10 ** 9) }}", "too-much-memory"),
      ("{{ [1]|batch(10 ** 9, 0)|list }}", "too-much-memory"),
      ("{{ range(5)|slice(10 ** 9)|list|length }}", "too-much-memory"),
      ("{% set a = 'a' * 5000000 %}{{ a in ('a' * 9 ~ 'b') ~ a }}{{ (a ~ 'b') in (a ~ a) }}", "too-much-memory"),
      ("{% set a = 'a' * 100000 %}{{ (a ~ 'b') in (a ~ a ~ a) }}", "too-many-steps"),
      ("{% set s = 'a' * 1000000 %}{{ s|list|length }}", "too-much-memory"),
      (
        "{% for i in range(99999) %}{% set x = namespace() %}{% macro m() %}{% endmacro %}{% endfor %}{% for i in range(99999) %}{% set x = namespace() %}{% macro m() %}{% endmacro %}{% endfor %}",
        "too-much-memory"
      ),
    ])
  func refused(_ source: String, _ name: String) {
    let start = processorTime()
    let found = error(source)
    #expect(processorTime() - start < .seconds(2))
    #expect(found?.name == name, "\(String(describing: found))")
  }

  @Test(
    "Sources that are nested too deep, or too long, are refused",
    arguments: [
      String(repeating: "(", count: 100_000), String(repeating: "[", count: 100_000),
      String(repeating: "{'a':", count: 100_000), String(repeating: "-", count: 100_000) + "1",
      String(repeating: "not ", count: 100_000) + "1", String(repeating: "a[", count: 100_000),
      String(repeating: "a(", count: 100_000), "1" + String(repeating: " if 1 else 1", count: 100_000),
      "1" + String(repeating: " if 1", count: 100_000), String(repeating: "a|f(", count: 100_000),
      String(repeating: "1 is divisibleby(", count: 50_000),
    ])
  func nested(_ expression: String) {
    let found = error("{{ " + expression)
    #expect(found?.kind == .nestedTooDeep || found?.kind == .sourceTooLong, "\(String(describing: found))")
  }

  @Test(
    "Statements that are nested too deep are refused",
    arguments: [
      "{% if a %}", "{% for a in b %}", "{% macro a() %}", "{% with %}", "{% call a() %}", "{% set a %}",
      "{% filter upper %}", "{% generation %}", "{% if a %}{% else %}", "{% for a in b %}{% else %}",
    ])
  func nestedStatements(_ statement: String) {
    #expect(error(String(repeating: statement, count: 20_000))?.kind == .nestedTooDeep)
  }

  @Test(
    "Long chains are not deep",
    arguments: [
      " + 1", " ~ 1", " and 1", " or 0", " == 1", "|abs", " * 1", " is odd is odd",
    ])
  func chains(_ link: String) {
    let found = error("{{ 1" + String(repeating: link, count: 20_000) + " }}")
    #expect(found == nil || found?.kind == .syntax, "\(String(describing: found))")
  }

  @Test("A long source, and values that are nested deep")
  func longSource() {
    #expect(error(String(repeating: "a", count: Template.longestSource)) == nil)
    #expect(error(String(repeating: "a", count: Template.longestSource + 1))?.kind == .sourceTooLong)
    var value = TemplateValue.integer(1)
    for _ in 0..<200 { value = .array([value]) }
    #expect(error("{{ x }}", ["x": value])?.kind == .nestedTooDeep)
    #expect(error("x", ["x": value]) == nil)
  }

  @Test("Limits are the caller's")
  func own() {
    let loop = "{% for i in range(100) %}{{ i }}{% endfor %}"
    #expect(error(loop) == nil)
    #expect(error(loop, limits: TemplateLimits(steps: 50))?.kind == .tooManySteps)
    #expect(error(loop, limits: TemplateLimits(outputScalars: 50))?.kind == .outputTooLong)
    #expect(error(loop, limits: TemplateLimits(memoryBytes: 400))?.kind == .tooMuchMemory)
    #expect(error("{{ [[1]] }}", limits: TemplateLimits(depth: 1))?.kind == .nestedTooDeep)
  }

  @Test("Errors say the line and what is wrong")
  func messages() {
    #expect(error("a\nb\n{{ x.y }}")?.description == "line 3: 'x' is undefined")
    #expect(error("a\n{% if %}")?.description == "line 2: Expected an expression, got 'end of statement block'")
    #expect(error("\n{{ raise_exception('no') }}")?.description == "line 2: the template refuses its input: no")
    #expect(error("\n{{ raise_exception('no') }}")?.fault == "no")
    #expect(error("{% include 'a' %}")?.description == "line 1: the tag 'include' is not supported")
    #expect(error("{{ {}.a.b }}")?.description == "line 1: 'dict object' has no attribute 'a'")
    #expect(
      error("{{ [].append(1) }}")?.description == "line 1: access to attribute 'append' of 'list' object is unsafe.")
  }
}
