import FileAccess
import SharedPack
import TreeStore

extension Refusal {
  /// The refusal in the words of the command line: the library's arguments are called what the user typed, and what
  /// another option would change is said.
  var message: String {
    guard let parameter else {
      return hint.map { Refusal(name, file: file, structure: structure, "\(fault); \($0)") }?.description ?? description
    }
    return Refusal(name, file: Self.option(parameter), fault).description
  }

  /// The option that sets an argument: `group-size` for `groupSize`.
  static func option(_ parameter: String) -> String {
    let others = ["calibrationText": "--calibrate", "promptLengths": "--prompt", "rowLimit": "--max-rows"]
    if let option = others[parameter] { return option }
    return parameter.reduce(into: "--") { $0 += $1.isUppercase ? "-\($1.lowercased())" : String($1) }
  }

  private var hint: String? {
    switch name {
    case .wouldReplace: "--force replaces it"
    case .documentExists: "--replace puts this one in its place"
    case .noInjection where fault.hasPrefix("its rotary"): "every --rope-scaling but dynamic-ntk can be stored"
    case .noInjection: "--reading deep and exact need none; converted with --injected-layers, it has them untrained"
    case .cacheTooLarge: "--cache-rows says how many rows are kept"
    case _ where name.text == "chunk-not-stored": "--chunk-borders fixed builds it so"
    case .textTooShort where fault.hasSuffix("windows need less"): "--windows says how many"
    case .textTooShort where fault.contains("joined"): "--join reads them as one text"
    case .configurationMismatch where fault.hasPrefix("row encoding "): "--kv says how rows are kept"
    case .configurationMismatch where fault.contains("rope="): "--rope-scaling says how positions are scaled"
    default: nil
    }
  }
}
