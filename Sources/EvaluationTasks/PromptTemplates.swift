public import CanonicalJSON

/// Prompts with fields in braces, by task: `{context}`, `{input}`. Two braces stand for one.
public struct PromptTemplates: Sendable {
  private var templates: [String: String]

  public init(_ templates: [String: String]) { self.templates = templates }

  /// Reads an object of templates by task, such as LongBench's `dataset2prompt.json`. Tasks that it lacks keep those
  /// of `defaults`.
  /// - Throws: `SampleFault`.
  public init(_ json: JSONValue, defaults: PromptTemplates) throws(SampleFault) {
    guard let members = json.object else { throw SampleFault("", "is not an object of templates by task") }
    templates = defaults.templates
    for member in members {
      guard let template = member.value.string else { throw SampleFault(member.key, "is not text") }
      templates[member.key] = template
    }
  }

  /// Reads an object of numbers by task, such as LongBench's `dataset2maxlen.json`.
  /// - Throws: `SampleFault`.
  public static func counts(_ json: JSONValue) throws(SampleFault) -> [String: Int] {
    guard let members = json.object else { throw SampleFault("", "is not an object of numbers by task") }
    var counts: [String: Int] = [:]
    for member in members {
      guard let count = member.value.integer, count > 0 else {
        throw SampleFault(member.key, "is not a positive number")
      }
      counts[member.key] = count
    }
    return counts
  }

  /// The prompt of a task with its fields filled in.
  /// - Throws: `SampleFault` when there is no template, or it names another field or has a single brace.
  public func prompt(for task: String, _ fields: [String: String]) throws(SampleFault) -> String {
    guard let template = templates[task] else { throw SampleFault("prompts", "there is none for the task \(task)") }
    var result = ""
    var rest = template[...]
    while let brace = rest.firstIndex(where: { $0 == "{" || $0 == "}" }) {
      result += rest[..<brace]
      let after = rest.index(after: brace)
      if after < rest.endIndex, rest[after] == rest[brace] {
        result.append(rest[brace])
        rest = rest[rest.index(after: after)...]
        continue
      }
      guard rest[brace] == "{", let end = rest[after...].firstIndex(of: "}") else {
        throw SampleFault("prompts, \(task)", "has a single brace")
      }
      guard let value = fields[String(rest[after..<end])] else {
        throw SampleFault("prompts, \(task)", "names the field {\(rest[after..<end])}, which samples do not have")
      }
      result += value
      rest = rest[rest.index(after: end)...]
    }
    return result + rest
  }
}
