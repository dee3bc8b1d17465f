import Templates
import Testing

/// Renders with `x` marked and gives the text with brackets around what is marked.
private func marked(_ source: String, _ x: String, _ others: [String: TemplateValue] = [:]) throws -> String {
  var variables = others
  variables["x"] = .string(TemplateString(x, isMarked: true))
  let rendered = try Template(parsing: source).render(variables)
  #expect(areSound(rendered))
  var bytes: [UInt8] = []
  for (offset, byte) in rendered.text.utf8.enumerated() {
    if rendered.markedRanges.contains(where: { $0.lowerBound == offset }) { bytes.append(UInt8(ascii: "[")) }
    bytes.append(byte)
    if rendered.markedRanges.contains(where: { $0.upperBound == offset + 1 }) { bytes.append(UInt8(ascii: "]")) }
  }
  return String(decoding: bytes, as: UTF8.self)
}

/// What a user wrote stays recognizable through every operation, so that it never becomes a special token.
@Suite("Marks")
struct MarkTests {
  @Test(
    "Operations carry marks along",
    arguments: [
      ("<s>{{ x }}</s>", "<s>[<s>é]</s>"),
      ("{{ 'a' + x + 'b' }}", "a[<s>é]b"),
      ("{{ 'a' ~ x ~ 1 }}", "a[<s>é]1"),
      ("{{ x[1:3] }}{{ x[0] }}{{ x[::-1] }}", "[s><é>s<]"),
      ("{{ x.split('s')|join('-') }}", "[<]-[>é]"),
      ("{{ (' ' ~ x ~ ' ').strip() }}", "[<s>é]"),
      ("{{ x.replace('s', 'end') }}", "[<]end[>é]"),
      ("{{ 'a-b'.replace('-', x) }}", "a[<s>é]b"),
      ("{{ x.upper() }}{{ x|title }}{{ x|capitalize }}", "[<S>É<S>é<s>é]"),
      ("{{ x|tojson }}", "\"[<s>é]\""),
      ("{{ x|tojson(ensure_ascii=true) }}", "\"[<s>\\u00e9]\""),
      ("{{ [x] }}", "['[<s>é]']"),
      ("{{ '%s|%3s' % (x, 'a') }}", "[<s>é]|  a"),
      ("{{ '{}|{:>6}'.format(x, x) }}", "[<s>é]|  [<s>é]"),
      ("{{ x|center(6) }}", " [<s>é] "),
      ("{{ x|indent(2, true) }}", "  [<s>é]"),
      ("{{ x|e }}", "[&lt;s&gt;é]"),
      ("{{ x|urlencode }}", "[%3Cs%3E%C3%A9]"),
      ("{{ x|truncate(3, true, '!', 0) }}", "[<s]!"),
      ("{{ x|wordwrap(2) }}", "[<s]\n[>é]"),
      ("{{ x|list|reverse|join }}{{ x|first }}{{ x|last }}", "[é>s<<é]"),
      ("{% for c in x %}{{ c }},{% endfor %}", "[<],[s],[>],[é],"),
      ("{% set y %}{{ x }}!{% endset %}{{ y }}", "[<s>é]!"),
      ("{% macro m(a) %}({{ a }}){% endmacro %}{{ m(x) }}", "([<s>é])"),
      ("{% filter upper %}a{{ x }}{% endfilter %}", "A[<S>É]"),
      ("{{ x * 2 }}", "[<s>é<s>é]"),
      ("{{ x.partition('s') }}", "('[<]', 's', '[>é]')"),
      ("{{ {x: 1} }}", "{'[<s>é]': 1}"),
      ("{{ dict([[x, 1]])|list|join }}", "[<s>é]"),
      ("{{ x|striptags }}", "[é]"),
      ("{{ x|replace('<s>', '') }}", "[é]"),
      ("{{ x.removeprefix('<') }}{{ x.removesuffix('é') }}", "[s>é<s>]"),
      ("{{ x.zfill(6) }}", "00[<s>é]"),
      ("{{ ['b', x]|sort|join(' ') }}", "[<s>é] b"),
      ("{{ x|string|trim|safe|default('') }}", "[<s>é]"),
      ("{{ x.splitlines()[0] }}", "[<s>é]"),
      ("{% set ns = namespace(t='') %}{% set ns.t = ns.t + x %}{{ ns.t }}", "[<s>é]"),
    ])
  func carried(_ source: String, _ expected: String) throws {
    #expect(try marked(source, "<s>é") == expected)
  }

  @Test("Comparisons, look-up and tests ignore marks")
  func ignored() throws {
    let source = """
      {{ x == 'ab' }}{{ 'ab' == x }}{{ x in ['ab'] }}{{ 'a' in x }}{{ x in 'cab' }}{{ {'ab': 5}[x] }}{{ {x: 6}['ab'] }}\
      {{ x.startswith('a') }}{{ x.find('b') }}{{ x is eq 'ab' }}{{ x < 'b' }}{{ [x, 'ab']|unique|list|length }}\
      {{ x is lower }}{{ o[x] }}{{ x.endswith(('b',)) }}{{ x|length }}{{ {x: 1} == {'ab': 1} }}{{ 'ab'.count(x) }}
      """
    #expect(
      try marked(source, "ab", ["o": .object([("ab", .integer(7))])])
        == "TrueTrueTrueTrueTrue56True1TrueTrue1True7True2True1")
  }

  @Test("Keys are marked where the caller says so")
  func keys() throws {
    let members: [(key: String, value: TemplateValue)] = [("<s>", .text("v"))]
    for (value, count) in [(TemplateValue.object(members), 0), (.object(members, keysAreMarked: true), 1)] {
      let rendered = try Template(parsing: "{{ o|tojson }}{{ o['<s>'] }}").render(["o": value])
      #expect(rendered.text == "{\"<s>\": \"v\"}v")
      #expect(rendered.markedRanges.count == count)
      #expect(rendered.markedRanges.allSatisfy { $0 == 2..<5 })
    }
  }

  @Test("Ranges are of bytes, and touching ones are joined")
  func ranges() throws {
    let rendered = try Template(parsing: "é{{ a }}{{ b }}-{{ a }}").render([
      "a": .string(TemplateString("é\u{1F600}", isMarked: true)), "b": .string(TemplateString("z", isMarked: true)),
    ])
    #expect(rendered.text == "éé\u{1F600}z-é\u{1F600}")
    #expect(rendered.markedRanges == [2..<9, 10..<16])
  }
}
