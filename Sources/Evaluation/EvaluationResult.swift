public import CanonicalJSON
public import FileAccess
import ModelPacks
public import SharedPack

/// The result of an evaluation: one file, one table.
///
/// The file is canonical JSON: `protocol`, `model` {`name`, `identity`, `weights`, `positions`}, `settings` (an object),
/// `columns` (names of labels and measures in the order of the table), `rows` of {`labels`: {name: word or number},
/// `measures`: {name: {`value`, `low`, `high`, `count`}}}, `notes` (sentences), `seconds`. `model`, `positions`, `low`, `high`
/// and `count` are left out where there are none.
public struct EvaluationResult: Sendable, Equatable {
  /// Which model was measured.
  public struct Model: Sendable, Equatable {
    /// The last part of the pack's path.
    public var name: String
    /// The pack's identity: 64 hexadecimal digits.
    public var identity: String
    /// How its projections are encoded: `int8`, `float16`, `float32`.
    public var weights: String
    /// How rotary positions are scaled, as in `yarn 4.0 of 512`; nil as the pack says.
    public var positions: String?

    public init(name: String, identity: String, weights: String, positions: String? = nil) {
      self.name = name
      self.identity = identity
      self.weights = weights
      self.positions = positions
    }
  }

  public struct Row: Sendable, Equatable {
    public var labels: [String: Label]
    public var measures: [String: Measure]

    public init(labels: [String: Label], measures: [String: Measure]) {
      self.labels = labels
      self.measures = measures
    }
  }

  /// The name of what was done: `perplexity`, `passkey` and so on.
  public var protocolName: String
  /// Nil where answers came from files.
  public var model: Model?
  /// Everything that the numbers depend on besides the model.
  public var settings: [JSONValue.Member]
  /// Names of labels, then of measures, in the order in which a table shows them.
  public var columns: [String]
  public var rows: [Row]
  /// What a reader must know about the numbers, a sentence each.
  public var notes: [String]
  public var seconds: Double

  public init(
    protocolName: String, model: Model?, settings: [JSONValue.Member], columns: [String], rows: [Row] = [],
    notes: [String] = [], seconds: Double = 0
  ) {
    self.protocolName = protocolName
    self.model = model
    self.settings = settings
    self.columns = columns
    self.rows = rows
    self.notes = notes
    self.seconds = seconds
  }

  /// Writes the file, which replaces one of the same name when it is whole.
  public func write(to path: String) throws(Refusal) {
    try PublishedFile.write(json.canonical + [UInt8(ascii: "\n")], to: path)
  }

  /// Reads a file back.
  /// - Throws: `Refusal` `malformed-json`, `malformed-result`, and those of reading a file.
  public init(reading path: String) throws(Refusal) {
    let json = try JSONValue(reading: path, limit: 1 << 26)
    do throws(ResultFault) {
      try self.init(json)
    } catch {
      throw Refusal(.malformedResult, file: path, structure: error.structure, error.fault)
    }
  }
}

extension EvaluationResult.Model {
  public init(_ model: LanguageModel) {
    self.init(
      name: String(model.pack.path.split(separator: "/").last ?? ""), identity: model.pack.identity.description,
      weights: model.pack.quantization.name,
      positions: model.runtime.positions?.numerics(of: model.pack.configuration))
  }
}

extension Refusal.Name {
  public static let malformedResult = Refusal.Name("malformed-result", .badInput)
}
