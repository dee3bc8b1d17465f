/// A value that a caller gives to a template.
///
/// Integers have 64 bits. Objects keep the order of their members and become dictionaries; of members with the same key
/// the last counts, at the place of the first.
public indirect enum TemplateValue: Sendable {
  case none
  case boolean(Bool)
  case integer(Int)
  case float(Double)
  case string(TemplateString)
  case array([TemplateValue])
  /// - keysAreMarked: the keys too were written by the user, such as those of a tool's arguments.
  case object([(key: String, value: TemplateValue)], keysAreMarked: Bool = false)

  /// A string that is not marked.
  public static func text(_ text: String) -> TemplateValue { .string(TemplateString(text)) }
}

/// A text of which every scalar says whether the user wrote it.
public struct TemplateString: Sendable {
  /// Unicode scalars, with `mark` added to those that the user wrote.
  let units: [UInt32]

  /// The bit of a scalar that says "written by the user". Every operation on texts carries it along; comparisons, look-up
  /// and tests ignore it.
  static let mark: UInt32 = 1 << 31

  /// - Parameter isMarked: whether the user wrote the text.
  public init(_ text: String, isMarked: Bool = false) {
    let mark = isMarked ? Self.mark : 0
    units = text.unicodeScalars.map { $0.value | mark }
  }
}

/// What a template made of its variables.
public struct RenderedText: Sendable {
  public let text: String
  /// Ranges of bytes of the text's UTF-8 that come from marked scalars; ascending, not empty, with gaps between them.
  public let markedRanges: [Range<Int>]

  init(_ units: [UInt32]) {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(units.count)
    var ranges: [Range<Int>] = []
    for unit in units {
      let start = bytes.count
      // All units were made from scalars.
      let scalar = Unicode.Scalar(unit & ~TemplateString.mark) ?? "\u{FFFD}"
      bytes.append(contentsOf: UTF8.encode(scalar)!)
      guard unit & TemplateString.mark != 0 else { continue }
      if let last = ranges.last, last.upperBound == start {
        ranges[ranges.count - 1] = last.lowerBound..<bytes.count
      } else {
        ranges.append(start..<bytes.count)
      }
    }
    text = String(decoding: bytes, as: UTF8.self)
    markedRanges = ranges
  }
}

/// What a template may use at most. The defaults are far above what chat templates need.
public struct TemplateLimits: Sendable {
  /// Evaluated nodes, plus one for every 32 scalars that an operation copies and for every 4 items or scalars that it
  /// deals with one by one. A million takes about a tenth of a second.
  public var steps: Int
  /// Scalars of the text that is rendered.
  public var outputScalars: Int
  /// Bytes of all values that exist at one time, the unfinished output included, as they are accounted for.
  public var memoryBytes: Int
  /// Nested evaluations: expressions in expressions, statements in statements, macros that call macros.
  public var depth: Int

  public init(
    steps: Int = 2_000_000, outputScalars: Int = 4 << 20, memoryBytes: Int = 60 << 20, depth: Int = 200
  ) {
    self.steps = steps
    self.outputScalars = outputScalars
    self.memoryBytes = memoryBytes
    self.depth = depth
  }
}
