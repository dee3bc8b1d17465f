import FileAccess

/// How documents are named after their files: a file has one name, whichever way it was found.
///
/// Paths are resolved by their text, not by what links lead to: `.`, `..` and doubled slashes vanish. What lies in the
/// base directory is named by its path from there, anything else by its absolute path without the first slash.
struct DocumentNaming {
  private let current: [Substring]
  private let base: [Substring]

  /// - Parameters:
  ///   - current: the absolute path that relative ones start from.
  ///   - base: of names; nil: the same.
  init(current: String, base: String? = nil) {
    self.current = Self.components(current, from: [])
    self.base = base.map { [start = self.current] in Self.components($0, from: start) } ?? self.current
  }

  /// The name of a file; of the base directory itself, none: "".
  func name(of path: String) -> String {
    let components = Self.components(path, from: current)
    return components.starts(with: base)
      ? components.dropFirst(base.count).joined(separator: "/") : components.joined(separator: "/")
  }

  /// The absolute path without the first slash: equal for equal files.
  func absolute(_ path: String) -> String { Self.components(path, from: current).joined(separator: "/") }

  private static func components(_ path: String, from current: [Substring]) -> [Substring] {
    var components = path.hasPrefix("/") ? [] : current
    for component in path.split(separator: "/") where component != "." {
      if component == ".." { _ = components.popLast() } else { components.append(component) }
    }
    return components
  }
}
