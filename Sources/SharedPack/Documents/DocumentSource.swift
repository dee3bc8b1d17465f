public import FileAccess

/// A text file that is to be stored or asked about, or a file with many texts.
public struct DocumentSource: Sendable, Hashable {
  /// What a file holds.
  public enum Form: Sendable, Hashable {
    /// One text.
    case text
    /// A text in each line, as a JSON object.
    case jsonLines
  }

  /// The name in the store.
  public var name: String
  /// Where the file is.
  public var path: String
  /// What it holds.
  public var form = Form.text
  /// How its characters are written. JSON lines are always UTF-8.
  public var encoding = TextEncoding.automatic
  /// Whether it is standard input in place of a file, which can be read once.
  public var isStandardInput = false

  /// A file under a name.
  public init(name: String, path: String) {
    self.name = name
    self.path = path
  }

  /// Standard input under a name.
  public static func standardInput(name: String, form: Form = .text) -> DocumentSource {
    var source = DocumentSource(name: name, path: "standard input")
    source.form = form
    source.isStandardInput = true
    return source
  }

  /// Texts are read whole; a book has a few million bytes.
  public static let byteLimit = 1 << 30

  /// The text in UTF-8, decompressed if the file is one of gzip or zstd.
  /// - Throws: `Refusal` `missing-file`, `not-text`, `other-encoding`, `malformed-compression`, `too-large`,
  ///   `empty-document`.
  public func text() throws(Refusal) -> [UInt8] {
    var stream = try stream()
    let text = try encoding.decode(stream.rest(limit: Self.byteLimit), file: path, limit: Self.byteLimit)
    guard !text.isEmpty else { throw Refusal(.emptyDocument, file: path, "has no text") }
    return text
  }

  /// The text with its name.
  /// - Throws: `Refusal`, as ``text()``.
  public func read() throws(Refusal) -> DocumentText { DocumentText(name: name, text: try text(), place: path) }

  /// The file's bytes, decompressed.
  func stream() throws(Refusal) -> ByteStream {
    isStandardInput ? try ByteStream(standardInput: path) : try ByteStream(path)
  }

  /// The texts that paths name, as ``DocumentSearch/find(_:)``; whatever is wrong with one of them is thrown.
  /// - Throws: `Refusal` `missing-file`, `duplicate-name`, `empty-document` when there are no files, and others of reading
  ///   directories.
  public static func find(_ paths: [String]) throws(Refusal) -> [DocumentSource] {
    let found = try DocumentSearch().find(paths)
    if let fault = found.faults.first { throw fault }
    return found.sources
  }
}

/// A text that is to be stored.
public struct DocumentText: Sendable, Hashable {
  /// The name in the store.
  public var name: String
  /// In UTF-8.
  public var text: [UInt8]
  /// What is known about it, as canonical JSON of an object, at most 64 KiB.
  public var metadata: String?
  /// Where it comes from, for messages.
  public var place: String

  /// A text under a name.
  public init(name: String, text: [UInt8], metadata: String? = nil, place: String) {
    self.name = name
    self.text = text
    self.metadata = metadata
    self.place = place
  }
}

extension Refusal.Name {
  /// A file is not text in its encoding.
  public static let notText = Refusal.Name("not-text", .badInput)
  /// A text has no tokens, or nothing was named to read.
  public static let emptyDocument = Refusal.Name("empty-document", .badInput)
  /// Two files would be stored under one name.
  public static let duplicateNaming = Refusal.Name("duplicate-name", .badInput)
}
