import CanonicalJSON
import Foundation
import Templates
import Testing

/// Our own templates, with what Jinja2 makes of them; `Tools/verify/templates` checks that it still does.
@Test("What Jinja2 renders", arguments: TemplateCase.own)
func rendersAsJinja(_ item: TemplateCase) {
  if let difference = item.difference() { Issue.record("\(item.name): \(difference)") }
}

/// The chat templates of others, which `Tools/verify/templates` has written into a directory.
@Test(
  "ChatTemplateParity",
  .enabled(
    if: ProcessInfo.processInfo.environment["SHAREDPACK_TEMPLATES_DIR"] != nil, "Tools/verify/templates sets it up"))
func chatTemplateParity() throws {
  let directory = try #require(ProcessInfo.processInfo.environment["SHAREDPACK_TEMPLATES_DIR"])
  let file = URL(fileURLWithPath: directory).appendingPathComponent("cases.json")
  let root = try JSONValue(parsing: [UInt8](try Data(contentsOf: file)), depthLimit: 200)
  let templates = try #require(root["templates"]?.array).map { try #require($0.string) }
  let clock = ContinuousClock()
  var slowest = Duration.zero
  var count = 0
  var wrong = 0
  for value in try #require(root["cases"]?.array) {
    let item = try TemplateCase(value, templates: templates)
    var difference: String?
    slowest = max(slowest, clock.measure { difference = item.difference() })
    count += 1
    if let difference {
      wrong += 1
      if wrong <= 40 { Issue.record("\(item.name): \(difference)") }
    }
  }
  print("\(templates.count) chat templates, \(count) cases, \(wrong) differ; the slowest took \(slowest)")
}
