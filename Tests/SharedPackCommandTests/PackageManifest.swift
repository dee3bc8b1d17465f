/// The targets of a `Package.swift`, read from its text: strings, names, arrays and calls. Values that would have to be
/// computed are refused.
struct PackageManifest {
  struct Target: Equatable {
    var name: String
    /// `target`, `executableTarget`, `systemLibrary` or `testTarget`.
    var kind: String
    /// Where it is said to lie; nil for the folder of its name in `Sources` or `Tests`.
    var path: String?
    /// The targets and products that it may import.
    var imports: [String]
  }

  struct Fault: Error, CustomStringConvertible {
    var description: String
  }

  let targets: [Target]

  /// The targets in `Sources`.
  var rooms: [Target] { targets.filter { $0.kind != "testTarget" && $0.path?.hasPrefix("Tests/") != true } }

  /// - Throws: `Fault` when the text is not understood.
  init(parsing text: String) throws(Fault) {
    var parser = try ManifestParser(text)
    guard case .list(let list) = try parser.package()["targets"] else { throw Fault(description: "no list of targets") }
    var targets: [Target] = []
    for element in list {
      guard case .call(let kind, let arguments) = element,
        ["target", "executableTarget", "systemLibrary", "testTarget"].contains(kind),
        case .text(let name) = arguments["name"]
      else { throw Fault(description: "target \(targets.count + 1) is of an unknown kind or has no name") }
      var target = Target(name: name, kind: kind, imports: [])
      if case .text(let path) = arguments["path"] { target.path = path }
      if let dependencies = arguments["dependencies"] {
        guard case .list(let dependencies) = dependencies else {
          throw Fault(description: "the dependencies of \(name) are not a list")
        }
        for dependency in dependencies {
          switch dependency {
          case .text(let name): target.imports.append(name)
          case .call("product", let arguments), .call("target", let arguments):
            guard case .text(let name) = arguments["name"] else { fallthrough }
            target.imports.append(name)
          default: throw Fault(description: "a dependency of \(name) is not understood")
          }
        }
      }
      targets.append(target)
    }
    self.targets = targets
  }
}

private indirect enum ManifestValue {
  case text(String)
  case name(String)
  case list([ManifestValue])
  /// Arguments without a label are left out.
  case call(String, [String: ManifestValue])
}

private enum ManifestToken: Equatable {
  case text(String)
  case word(String)
  case mark(Character)
}

private struct ManifestParser {
  private var rest: ArraySlice<ManifestToken>

  init(_ text: String) throws(PackageManifest.Fault) {
    var tokens: [ManifestToken] = []
    for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      var line = line
      while let first = line.first {
        if first.isWhitespace {
          line.removeFirst()
        } else if line.hasPrefix("//") {
          line = ""
        } else if first == "\"" {
          let text = line.dropFirst().prefix { $0 != "\"" }
          guard text.endIndex < line.endIndex, !text.contains("\\") else {
            throw PackageManifest.Fault(description: "line \(number + 1) has a string that is not understood")
          }
          tokens.append(.text(String(text)))
          line = line[text.endIndex...].dropFirst()
        } else {
          let word = line.prefix { $0.isLetter || $0.isNumber || $0 == "_" }
          tokens.append(word.isEmpty ? .mark(first) : .word(String(word)))
          line = line.dropFirst(max(word.count, 1))
        }
      }
    }
    rest = tokens[...]
  }

  /// The arguments of `let package = Package(…)`.
  mutating func package() throws(PackageManifest.Fault) -> [String: ManifestValue] {
    let start: [ManifestToken] = [.word("let"), .word("package"), .mark("="), .word("Package")]
    while !rest.starts(with: start) { try advance() }
    rest.removeFirst(start.count - 1)
    guard case .call(_, let arguments) = try value() else { throw fault }
    return arguments
  }

  private var fault: PackageManifest.Fault {
    PackageManifest.Fault(description: "not understood before \(rest.prefix(8).map { "\($0)" })")
  }

  private mutating func advance() throws(PackageManifest.Fault) {
    if rest.isEmpty { throw fault }
    rest.removeFirst()
  }

  /// Skips a mark if it comes next, and returns whether it did.
  private mutating func take(_ mark: Character) -> Bool {
    guard rest.first == .mark(mark) else { return false }
    rest.removeFirst()
    return true
  }

  private mutating func value() throws(PackageManifest.Fault) -> ManifestValue {
    if case .text(let text) = rest.first {
      rest.removeFirst()
      return .text(text)
    }
    if take("[") {
      var values: [ManifestValue] = []
      while !take("]") {
        values.append(try value())
        guard take(",") || rest.first == .mark("]") else { throw fault }
      }
      return .list(values)
    }
    _ = take(".")
    guard case .word(let name) = rest.first else { throw fault }
    rest.removeFirst()
    guard take("(") else { return .name(name) }
    var arguments: [String: ManifestValue] = [:]
    while !take(")") {
      if case .word(let label) = rest.first, rest.dropFirst().first == .mark(":") {
        rest.removeFirst(2)
        guard arguments.updateValue(try value(), forKey: label) == nil else { throw fault }
      } else {
        _ = try value()
      }
      guard take(",") || rest.first == .mark(")") else { throw fault }
    }
    return .call(name, arguments)
  }
}
