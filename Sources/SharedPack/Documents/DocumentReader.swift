import CanonicalJSON
public import FileAccess

/// Reads the texts of sources, one after the other; no more than one is in memory.
public struct DocumentReader: ~Copyable {
  private let sources: [DocumentSource]
  /// Sources that were begun.
  private var count = 0
  /// What is left of a file of JSON lines.
  private var lines: LineReader?

  /// The most bytes that the canonical JSON of a text's metadata has.
  public static let metadataByteLimit = 1 << 16

  /// The texts of some sources, in their order.
  public init(_ sources: [DocumentSource]) { self.sources = sources }

  /// The number of texts, unless they are counted only by reading them.
  public var textCount: Int? { sources.contains { $0.form == .jsonLines } ? nil : sources.count }

  /// How far it is, 0 to 1; nil where that cannot be told, as of standard input.
  public var share: Double? {
    guard !sources.isEmpty else { return 1 }
    guard let own = lines.share else { return nil }
    return (Double(count) - 1 + own) / Double(sources.count)
  }

  /// The next text; nil at the end.
  /// - Throws: `Refusal` for a text that cannot be read, as ``DocumentSource/text()``, and `malformed-json` for a line that
  ///   is no object with a name and a text. The call after that goes on with the next text.
  public mutating func next() throws(Refusal) -> DocumentText? {
    while true {
      if lines != nil {
        if let text = try nextLine() { return text }
        lines = nil
      }
      guard count < sources.count else { return nil }
      let source = sources[count]
      count += 1
      switch source.form {
      case .text: return try source.read()
      case .jsonLines: lines = LineReader(try source.stream(), lineLimit: DocumentSource.byteLimit)
      }
    }
  }

  /// The text of the next line; nil at the end of the file.
  private mutating func nextLine() throws(Refusal) -> DocumentText? {
    while true {
      let line: [UInt8]?
      do throws(Refusal) {
        line = try lines?.next()
      } catch {
        // Where the next line would start is not known.
        lines = nil
        throw error
      }
      guard let line else { return nil }
      let spaces: Set<UInt8> = [0x20, 0x0D, 0x09]
      if line.allSatisfy(spaces.contains) { continue }
      return try Self.document(line, number: lines?.lineNumber ?? 0, file: sources[count - 1].path)
    }
  }

  private static func document(_ line: [UInt8], number: Int, file: String) throws(Refusal) -> DocumentText {
    let structure = "line \(number)"
    let json: JSONValue
    do throws(JSONError) {
      json = try number == 1 ? JSONValue(parsingFile: line) : JSONValue(parsing: line)
    } catch {
      throw Refusal(.malformedJSON, file: file, structure: structure, "column \(error.column): \(error.reason)")
    }
    func malformed(_ fault: String) -> Refusal { Refusal(.malformedJSON, file: file, structure: structure, fault) }
    guard json.object != nil else { throw malformed("is no JSON object") }
    let name: String
    switch json["id"] ?? json["name"] {
    case .string(let text): name = text
    case .integer(let number): name = String(number)
    case nil, .null: throw malformed("has no \"id\" and no \"name\"")
    default: throw malformed("its \"id\" or \"name\" is neither a string nor an integer")
    }
    guard let text = json["text"]?.string else { throw malformed("has no \"text\" that is a string") }
    let place = "\(file): \(structure)"
    guard !text.isEmpty else { throw Refusal(.emptyDocument, file: place, "has no text") }
    let bytes = Array(text.utf8)
    guard !bytes.contains(0) else { throw Refusal(.notText, file: place, "is not text: has a NUL character") }
    return DocumentText(
      name: name, text: bytes,
      metadata: try json["metadata"].flatMap { (value) throws(Refusal) in
        try metadata(value, malformed)
      }, place: place)
  }

  private static func metadata(
    _ value: JSONValue, _ malformed: (String) -> Refusal
  ) throws(Refusal) -> String? {
    if case .null = value { return nil }
    guard value.object != nil else { throw malformed("its \"metadata\" is no object") }
    let canonical = value.canonical
    guard canonical.count <= metadataByteLimit else {
      throw malformed("its \"metadata\" has \(canonical.count) bytes; at most \(metadataByteLimit) are kept")
    }
    return String(decoding: canonical, as: UTF8.self)
  }
}

extension LineReader? {
  /// The part of the file that was read; of none, all.
  fileprivate var share: Double? {
    switch self {
    case .some(let reader): reader.share
    case .none: 1
    }
  }
}
