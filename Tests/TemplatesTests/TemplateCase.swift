import CanonicalJSON
import Foundation
import Templates
import Testing

/// A template with its variables, and what Jinja2 makes of it.
struct TemplateCase: Sendable, CustomTestStringConvertible {
  let name: String
  let template: String
  let variables: [JSONValue.Member]
  let now: TemplateDate?
  let text: String?
  /// The kind of the error, if the template cannot be rendered.
  let error: String?
  /// What the template says when it refuses its input.
  let message: String?

  var testDescription: String { name }

  /// - Parameter templates: The texts that cases name by their numbers.
  init(_ value: JSONValue, templates: [String] = []) throws {
    name = try #require(value["name"]?.string)
    if let number = value["template"]?.integer {
      template = templates[number]
    } else {
      template = try #require(value["template"]?.string)
    }
    variables = value["variables"]?.object ?? []
    let numbers = value["now"]?.array?.compactMap(\.integer)
    now = numbers.map {
      TemplateDate(year: $0[0], month: $0[1], day: $0[2], hour: $0[3], minute: $0[4], second: $0[5])
    }
    text = value["text"]?.string
    error = value["error"]?.string
    message = value["message"]?.string
  }

  /// - Parameter isMarked: whether all strings of the variables, keys included, are marked.
  func render(isMarked: Bool = false, limits: TemplateLimits = TemplateLimits()) throws(TemplateError) -> RenderedText {
    var values: [String: TemplateValue] = [:]
    for member in variables { values[member.key] = Self.value(member.value, isMarked) }
    return try Template(parsing: template).render(values, now: now, limits: limits)
  }

  static func value(_ value: JSONValue, _ isMarked: Bool = false) -> TemplateValue {
    switch value {
    case .null: .none
    case .boolean(let value): .boolean(value)
    case .integer(let value): .integer(value)
    case .number(let value): .float(value)
    case .string(let value): .string(TemplateString(value, isMarked: isMarked))
    case .array(let values): .array(values.map { Self.value($0, isMarked) })
    case .object(let members):
      .object(members.map { ($0.key, Self.value($0.value, isMarked)) }, keysAreMarked: isMarked)
    }
  }

  /// What is wrong with what we render, or nil.
  func difference() -> String? {
    do {
      let rendered = try render()
      guard let text else { return "renders \(rendered.text.debugDescription), expected an error: \(error ?? "")" }
      guard rendered.text.utf8.elementsEqual(text.utf8) else { return Self.difference(rendered.text, text) }
      guard rendered.markedRanges.isEmpty else { return "marks what nobody marked" }
      // Marks must not change what is rendered.
      let marked = try render(isMarked: true)
      guard marked.text.utf8.elementsEqual(text.utf8) else {
        return "with marks: " + Self.difference(marked.text, text)
      }
      return nil
    } catch {
      guard error.name == self.error else {
        return "\(error.name): \(error), expected \(self.error ?? text.debugDescription)"
      }
      guard message == nil || error.fault == message else { return "\(error), expected \(message.debugDescription)" }
      return nil
    }
  }

  private static func difference(_ ours: String, _ theirs: String) -> String {
    let (ours, theirs) = (Array(ours.unicodeScalars), Array(theirs.unicodeScalars))
    let place = zip(ours, theirs).prefix { $0 == $1 }.count
    func part(_ scalars: [Unicode.Scalar]) -> String {
      var view = String.UnicodeScalarView()
      view.append(contentsOf: scalars[max(0, min(place - 40, scalars.count))..<min(place + 60, scalars.count)])
      return String(view).debugDescription
    }
    return "character \(place) of \(ours.count) differs: \(part(ours)), expected \(part(theirs))"
  }

  static let own: [TemplateCase] = {
    do {
      let url = try #require(Bundle.module.url(forResource: "cases", withExtension: "json", subdirectory: "Fixtures"))
      let value = try JSONValue(parsing: [UInt8](try Data(contentsOf: url)), depthLimit: 200)
      return try #require(value.array).map { try TemplateCase($0) }
    } catch {
      fatalError("Fixtures/cases.json cannot be read: \(error)")
    }
  }()
}
