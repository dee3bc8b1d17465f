import FileAccess

/// A pattern of paths, as shells have them: `*`, `?` and `[a-z]` stand for characters of a name, `**` for any number of
/// directories. Hidden names are met only by patterns that start with a full stop.
struct PathPattern {
  private let components: [String]
  private let isAbsolute: Bool

  /// - Returns: nil for a path without a pattern.
  init?(_ path: String) {
    guard path.contains(where: { "*?[".contains($0) }) else { return nil }
    components = path.split(separator: "/").map(String.init)
    isAbsolute = path.hasPrefix("/")
  }

  /// The paths that it meets. Links to directories are met, but `**` does not go through them.
  /// - Parameter faults: receives what cannot be read on the way.
  func paths(faults: inout [Refusal]) -> [String] {
    var paths: [String] = []
    expand(isAbsolute ? "/" : "", components[...], into: &paths, &faults)
    return paths
  }

  private func expand(
    _ directory: String, _ rest: ArraySlice<String>, into paths: inout [String], _ faults: inout [Refusal]
  ) {
    guard let first = rest.first else { return paths.append(directory) }
    let rest = rest.dropFirst()
    func path(_ name: String) -> String {
      directory.isEmpty ? name : directory == "/" ? "/\(name)" : "\(directory)/\(name)"
    }
    if first == "**" {
      // At the end of a pattern: all that is in the directory.
      guard !rest.isEmpty else { return paths.append(directory.isEmpty ? "." : directory) }
      expand(directory, rest, into: &paths, &faults)
      for entry in entries(directory, &faults) where !entry.name.hasPrefix(".") && entry.isUTF8 {
        let isDirectory =
          entry.kind == .directory || entry.kind == .other && Directory.exists(path(entry.name)) == .directory
        if isDirectory { expand(path(entry.name), [first] + rest, into: &paths, &faults) }
      }
    } else if PathPattern(first) == nil {
      if Directory.exists(path(first)) != nil { expand(path(first), rest, into: &paths, &faults) }
    } else {
      let pattern = FileNamePattern(first)
      for entry in entries(directory, &faults) where entry.isUTF8 && pattern.matches(entry.name) {
        if entry.name.hasPrefix("."), !first.hasPrefix(".") { continue }
        if rest.isEmpty || Directory.exists(path(entry.name)) == .directory {
          expand(path(entry.name), rest, into: &paths, &faults)
        }
      }
    }
  }

  private func entries(_ directory: String, _ faults: inout [Refusal]) -> [Directory.Entry] {
    do throws(Refusal) {
      return try Directory.entries(in: directory.isEmpty ? "." : directory)
    } catch {
      faults.append(error)
      return []
    }
  }
}

/// A pattern of one name.
struct FileNamePattern {
  private enum Piece {
    case one(Unicode.Scalar)
    case any
    case some(of: [ClosedRange<UInt32>], negated: Bool)
    /// Any number of characters.
    case star

    func matches(_ scalar: Unicode.Scalar) -> Bool {
      switch self {
      case .one(let wanted): scalar == wanted
      case .any: true
      case .some(let ranges, let negated): ranges.contains { $0.contains(scalar.value) } != negated
      case .star: false
      }
    }
  }

  private var pieces: [Piece] = []

  init(_ pattern: String) {
    let scalars = Array(pattern.unicodeScalars)
    var index = 0
    while index < scalars.count {
      switch scalars[index] {
      case "*": pieces.append(.star)
      case "?": pieces.append(.any)
      case "\\" where index + 1 < scalars.count:
        index += 1
        pieces.append(.one(scalars[index]))
      case "[":
        if let (piece, end) = Self.set(scalars, from: index + 1) {
          pieces.append(piece)
          index = end
        } else {
          pieces.append(.one("["))
        }
      case let scalar: pieces.append(.one(scalar))
      }
      index += 1
    }
  }

  /// - Returns: the set and where its closing bracket is; nil for a bracket that is not closed.
  private static func set(_ scalars: [Unicode.Scalar], from start: Int) -> (Piece, end: Int)? {
    var index = start
    let negated = index < scalars.count && (scalars[index] == "!" || scalars[index] == "^")
    if negated { index += 1 }
    let first = index
    var ranges: [ClosedRange<UInt32>] = []
    while index < scalars.count {
      if scalars[index] == "]", index > first { return (.some(of: ranges, negated: negated), index) }
      let low = scalars[index].value
      if index + 2 < scalars.count, scalars[index + 1] == "-", scalars[index + 2] != "]" {
        let high = scalars[index + 2].value
        if low <= high { ranges.append(low...high) }
        index += 3
      } else {
        ranges.append(low...low)
        index += 1
      }
    }
    return nil
  }

  /// Takes a time of at most the product of both lengths.
  func matches(_ name: String) -> Bool {
    let scalars = Array(name.unicodeScalars)
    var (place, index) = (0, 0)
    // Where to go on if what follows the last star does not fit.
    var retry: (place: Int, index: Int)?
    while index < scalars.count {
      if place < pieces.count, case .star = pieces[place] {
        retry = (place, index)
        place += 1
      } else if place < pieces.count, pieces[place].matches(scalars[index]) {
        place += 1
        index += 1
      } else if let last = retry {
        retry = (last.place, last.index + 1)
        (place, index) = (last.place + 1, last.index + 1)
      } else {
        return false
      }
    }
    return pieces[place...].allSatisfy { if case .star = $0 { true } else { false } }
  }
}
