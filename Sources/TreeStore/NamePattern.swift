/// A pattern of documents' names: `*` stands for any characters, also none and slashes, `?` for one; all others for
/// themselves.
public struct NamePattern: Sendable, Hashable {
  /// As it was written.
  public let text: String
  private let scalars: [Unicode.Scalar]

  /// Every text is a pattern.
  public init(_ text: String) {
    self.text = text
    scalars = Array(text.unicodeScalars)
  }

  /// Whether it stands for more than one name.
  public var isWild: Bool { scalars.contains(where: Self.isWild) }

  private static func isWild(_ scalar: Unicode.Scalar) -> Bool { scalar == "*" || scalar == "?" }

  /// What every name begins with that it stands for.
  var prefix: String {
    var prefix = String.UnicodeScalarView()
    prefix.append(contentsOf: scalars.prefix { !Self.isWild($0) })
    return String(prefix)
  }

  /// Whether it stands for a name.
  public func matches(_ name: String) -> Bool {
    let name = Array(name.unicodeScalars)
    var (position, place) = (0, 0)
    // The last star, and where what it stands for ends so far.
    var star: (position: Int, end: Int)?
    while place < name.count {
      if position < scalars.count, scalars[position] == "*" {
        star = (position, place)
        position += 1
      } else if position < scalars.count, scalars[position] == "?" || scalars[position] == name[place] {
        position += 1
        place += 1
      } else if let last = star {
        star = (last.position, last.end + 1)
        position = last.position + 1
        place = last.end + 1
      } else {
        return false
      }
    }
    return scalars[position...].allSatisfy { $0 == "*" }
  }
}
