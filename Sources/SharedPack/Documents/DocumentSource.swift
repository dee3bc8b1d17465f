public import FileAccess

/// A text file that is to be stored or asked about.
public struct DocumentSource: Sendable, Hashable {
  /// The name in the store.
  public var name: String
  /// Where the file is.
  public var path: String

  /// A file under a name.
  public init(name: String, path: String) {
    self.name = name
    self.path = path
  }

  /// Texts are read whole; a book has a few million bytes.
  public static let byteLimit = 1 << 30

  /// The file's bytes.
  /// - Throws: `Refusal` `missing-file`, `not-text` when it is not UTF-8, `too-large`, `empty-document`.
  public func text() throws(Refusal) -> [UInt8] {
    let bytes = try SequentialFile.contents(path, limit: Self.byteLimit)
    guard !bytes.isEmpty else { throw Refusal(.emptyDocument, file: path, "has no text") }
    guard bytes.span.isValidUTF8, !bytes.contains(0) else {
      throw Refusal(.notText, file: path, "is not text in UTF-8")
    }
    return bytes
  }

  /// The sources that paths name: files, and all files in and below directories, by ascending name. Names are paths
  /// relative to the directory that was named, or the last component of a file's path.
  /// - Throws: `Refusal` `missing-file`, `duplicate-name`, `empty-document` when there are no files.
  public static func find(_ paths: [String]) throws(Refusal) -> [DocumentSource] {
    var sources: [DocumentSource] = []
    for path in paths {
      let trimmed = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
      switch Directory.exists(trimmed) {
      case .directory: try add(directory: trimmed, prefix: "", to: &sources)
      case .file, .other: sources.append(DocumentSource(name: Directory.split(trimmed).name, path: trimmed))
      case nil: throw Refusal(.missingFile, file: path, "does not exist")
      }
    }
    var pathsByName: [String: String] = [:]
    for source in sources {
      if let other = pathsByName.updateValue(source.path, forKey: source.name) {
        throw Refusal(
          .duplicateNaming, file: source.path, "would be stored as \"\(source.name)\", and so would \(other)")
      }
    }
    guard !sources.isEmpty else {
      throw Refusal(.emptyDocument, file: paths.joined(separator: ", "), "no files to store")
    }
    return sources
  }

  private static func add(
    directory: String, prefix: String, to sources: inout [DocumentSource]
  ) throws(Refusal) {
    for name in try Directory.names(in: directory) where !name.hasPrefix(".") {
      let path = "\(directory)/\(name)"
      switch Directory.exists(path) {
      case .directory: try add(directory: path, prefix: prefix + name + "/", to: &sources)
      case .file: sources.append(DocumentSource(name: prefix + name, path: path))
      default: break
      }
    }
  }
}

extension Refusal.Name {
  /// A file is not text in UTF-8.
  public static let notText = Refusal.Name("not-text", .badInput)
  /// A text has no tokens, or nothing was named to read.
  public static let emptyDocument = Refusal.Name("empty-document", .badInput)
  /// Two files would be stored under one name.
  public static let duplicateNaming = Refusal.Name("duplicate-name", .badInput)
}

extension Span<UInt8> {
  /// Whether the bytes are UTF-8.
  fileprivate var isValidUTF8: Bool {
    (try? UTF8Span(validating: self)) != nil
  }
}
