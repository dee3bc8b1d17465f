import CanonicalJSON
import Fuzzing
import Templates
import Testing

/// Chat templates of whatever bytes: see `FuzzedReader`.
@Suite struct FuzzedTemplates {
  @Test func sources() throws {
    func text(_ text: String, isMarked: Bool = false) -> TemplateValue {
      .string(TemplateString(text, isMarked: isMarked))
    }
    let variables: [String: TemplateValue] = [
      "messages": .array([
        .object([("role", text("user")), ("content", text("Who\n is it? ", isMarked: true))]),
        .object([("role", text("assistant")), ("content", text(" It is I.\n"))]),
      ]), "add_generation_prompt": .boolean(true), "bos_token": text("<s>"), "eos_token": text("</s>"),
      "x": .integer(7), "y": .array([.float(1.5), .none, text("b")]), "d": .object([("a", .integer(1))]),
    ]
    let limits = TemplateLimits(steps: 20_000)
    try FuzzedReader.run("template", seeds: TemplateCase.own.map { Array($0.template.utf8) }) { source in
      guard let template = try? Template(parsing: String(decoding: source, as: UTF8.self)),
        let rendered = try? template.render(
          variables, now: TemplateDate(year: 2026, month: 3, day: 9), limits: limits)
      else { return }
      precondition(areSound(rendered), "unsound ranges")
    }
  }
}
