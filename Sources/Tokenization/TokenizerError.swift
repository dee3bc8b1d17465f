/// Why bytes are not a tokenizer, or not one that is supported here.
///
/// It names no file: this module reads bytes, and its callers know where the bytes came from.
public struct TokenizerError: Error, Sendable, Hashable, CustomStringConvertible {
  /// The stable name of the fault. `Formats/tokenizer.md` lists all of them.
  public let name: String
  /// The part at fault, such as `piece 17`. Empty when it is the whole.
  public let structure: String
  public let fault: String

  init(_ name: Name, _ structure: String = "", _ fault: String) {
    self.name = name.rawValue
    self.structure = structure
    self.fault = fault
  }

  public var description: String {
    structure.isEmpty ? "\(fault) [\(name)]" : "\(structure): \(fault) [\(name)]"
  }

  enum Name: String {
    /// The bytes break the rules of their format.
    case malformed = "tokenizer-malformed"
    /// A limit that keeps hostile files harmless is exceeded.
    case tooLarge = "tokenizer-too-large"
    /// The format is kept, and asks for something that is not implemented.
    case unsupported = "tokenizer-unsupported"
    case duplicatePiece = "tokenizer-duplicate-piece"
    /// A piece is missing, so that some text has no tokens.
    case missingPiece = "tokenizer-missing-piece"
    case badScore = "tokenizer-bad-score"
    case truncated = "tokenizer-truncated"
    /// The serialized form is of a version that is not known here.
    case unknownVersion = "tokenizer-unknown-version"
    case unknownTemplate = "chat-template-unknown"
    /// A template is not a program that can be run, or asks for what there is not.
    case templateFailed = "chat-template-failed"
    /// Messages do not fit the template: roles out of order, no message.
    case badMessages = "chat-messages-invalid"
  }
}

/// Limits of imported and opened tokenizers.
enum TokenizerLimits {
  static let modelByteCount = 16 << 20
  static let jsonByteCount = 64 << 20
  /// Pieces and extra characters together: a symbol has 20 bits in a merge.
  static let symbolCount = 1 << 20
  static let pieceByteCount = 4096
  /// All pieces together.
  static let vocabularyByteCount = 64 << 20
  /// A merge has an index of 24 bits, and all ones are no merge.
  static let mergeCount = 1 << 24 - 1
  /// Special and user-defined pieces, which are matched in texts.
  static let matchedPieceCount = 1 << 16
  static let matchedByteCount = 1 << 20
  /// Normalizers, and steps that split.
  static let stepCount = 64
  /// A pattern or another text of a step.
  static let stepByteCount = 1 << 14
}
