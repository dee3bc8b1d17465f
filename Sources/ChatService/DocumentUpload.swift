import CanonicalJSON

/// A text that a client sends: as JSON, as it is, or as a form with a file.
public struct DocumentUpload: Sendable, Hashable {
  /// The document's name: of a catalog, never of a file.
  public var name: String
  /// UTF-8.
  public var text: [UInt8]
  /// Whether another text may be there under the name.
  public var isReplacing: Bool

  /// - Parameters:
  ///   - body: of the request.
  ///   - contentType: of the body; nil where the request does not say.
  ///   - name: where the body has none.
  ///   - isReplacing: where the body does not say.
  /// - Throws: `RequestFault` for what is not text in UTF-8, or has no name.
  public init(_ body: [UInt8], contentType: String?, name: String?, isReplacing: Bool = false) throws(RequestFault) {
    let kind = contentType?.prefix { $0 != ";" }.lowercased().filter { !$0.isWhitespace }
    var found: (name: String?, text: [UInt8])
    var replaces = isReplacing
    switch kind {
    case "application/json":
      let fields = try RequestFields(parsing: body)
      guard let text = try fields.string("text", atMost: body.count) else { throw .invalid("text", "is missing") }
      found = (try fields.string("name", atMost: 1024), Array(text.utf8))
      replaces = try fields.boolean("replace") ?? isReplacing
    case "multipart/form-data":
      let form = try MultipartForm(body, contentType: contentType ?? "")
      guard let part = form.parts.first(where: { $0.name == "file" }) else {
        throw .invalid("file", "is missing from the form")
      }
      let given = form.parts.first { $0.name == "name" }.map { String(decoding: $0.content, as: UTF8.self) }
      found = (given ?? part.fileName, part.content)
    default:
      found = (nil, body)
    }
    guard let name = found.name ?? name, !name.isEmpty else { throw .invalid("name", "is missing") }
    guard !found.text.isEmpty else { throw .invalid("text", "is empty") }
    // A byte order mark is no part of a text.
    if found.text.starts(with: [0xEF, 0xBB, 0xBF]) { found.text.removeFirst(3) }
    guard !found.text.contains(0), String(validating: found.text, as: UTF8.self) != nil else {
      throw RequestFault(400, "not_text", field: "text", "'text' is not text in UTF-8")
    }
    self.name = name
    text = found.text
    self.isReplacing = replaces
  }
}

/// A form with files.
/// Source: RFC 7578.
struct MultipartForm: Sendable, Hashable {
  struct Part: Sendable, Hashable {
    var name: String
    var fileName: String?
    var content: [UInt8]
  }

  private(set) var parts: [Part] = []

  private static let partLimit = 16
  private static let headerByteLimit = 4096

  /// - Throws: `RequestFault` when the body is no form, or has more than 16 parts.
  init(_ body: [UInt8], contentType: String) throws(RequestFault) {
    guard let boundary = Self.parameter("boundary", of: contentType), (1...200).contains(boundary.utf8.count) else {
      throw Self.fault("has no boundary")
    }
    let delimiter = Array("\r\n--\(boundary)".utf8)
    // The first delimiter has no line before it.
    guard body.starts(with: delimiter.dropFirst(2)) else { throw Self.fault("does not begin with its boundary") }
    var offset = delimiter.count - 2
    while true {
      let rest = body[offset...]
      if rest.starts(with: "--".utf8) { return }
      guard rest.starts(with: "\r\n".utf8) else { throw Self.fault("has a boundary with something behind it") }
      guard parts.count < Self.partLimit else { throw Self.fault("has more than \(Self.partLimit) parts") }
      guard let end = Self.find(delimiter, in: body, from: offset) else {
        throw Self.fault("has a part without an end")
      }
      parts.append(try Self.part(body[offset + 2..<max(end, offset + 2)]))
      offset = end + delimiter.count
    }
  }

  private static func part(_ bytes: ArraySlice<UInt8>) throws(RequestFault) -> Part {
    let blank = Array("\r\n\r\n".utf8)
    // A part may have no headers at all; one that names nothing is refused below.
    guard let end = find(blank, in: Array(bytes.prefix(headerByteLimit)), from: 0) else {
      throw fault("has a part without headers, or with too long ones")
    }
    let headers = String(decoding: bytes.prefix(end), as: UTF8.self)
    let lines = headers.split(separator: "\r\n")
    guard let line = lines.first(where: { $0.lowercased().hasPrefix("content-disposition:") }),
      let name = parameter("name", of: String(line))
    else { throw fault("has a part without a name") }
    return Part(
      name: name, fileName: parameter("filename", of: String(line)), content: Array(bytes.dropFirst(end + 4)))
  }

  /// The value of a parameter such as `name="file"`.
  static func parameter(_ name: String, of header: String) -> String? {
    var value: String?
    for piece in pieces(of: header).dropFirst() {
      guard let equals = piece.firstIndex(of: "="),
        piece[..<equals].trimmed.lowercased() == name
      else { continue }
      var text = piece[piece.index(after: equals)...].trimmed
      if text.hasPrefix("\""), text.hasSuffix("\""), text.count >= 2 {
        text = String(text.dropFirst().dropLast()).replacing("%22", with: "\"").replacing("\\\"", with: "\"")
      }
      value = value ?? text
    }
    return value
  }

  /// The parts of a header between semicolons that stand in no quotes.
  private static func pieces(of header: String) -> [Substring] {
    var isQuoted = false
    var before: Character = " "
    return header.split(omittingEmptySubsequences: false) { character in
      defer { before = character }
      if character == "\"", before != "\\" { isQuoted.toggle() }
      return character == ";" && !isQuoted
    }
  }

  /// Where some bytes come first; nil when nowhere.
  private static func find(_ pattern: [UInt8], in bytes: [UInt8], from start: Int) -> Int? {
    guard bytes.count >= pattern.count else { return nil }
    var offset = start
    while offset <= bytes.count - pattern.count {
      guard let candidate = bytes[offset...(bytes.count - pattern.count)].firstIndex(of: pattern[0]) else { return nil }
      if bytes[candidate..<candidate + pattern.count].elementsEqual(pattern) { return candidate }
      offset = candidate + 1
    }
    return nil
  }

  private static func fault(_ fault: String) -> RequestFault {
    RequestFault(400, "invalid_form", "the form \(fault)")
  }
}

extension Substring {
  fileprivate var trimmed: String {
    String(drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed())
  }
}
