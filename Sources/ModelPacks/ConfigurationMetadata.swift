import CanonicalJSON
import FileAccess

// How the configuration is written in the metadata. Format: `Formats/model-pack.md` §Metadata.

extension LlamaConfiguration {
  var json: JSONValue {
    // A bias that is not there is not mentioned: packs of before there were biases have the same bytes.
    .members([
      "attentionInputBias": attentionInputBias ? .boolean(true) : nil,
      "attentionOutputBias": attentionOutputBias ? .boolean(true) : nil,
      "beginOfTextToken": beginOfTextToken.map { .integer(Int($0)) },
      "endOfTextTokens": .array(endOfTextTokens.map { .integer(Int($0)) }),
      "headCount": .integer(headCount),
      "headDim": .integer(headDim),
      "hiddenSize": .integer(hiddenSize),
      "intermediateSize": .integer(intermediateSize),
      "kvHeadCount": .integer(kvHeadCount),
      "layerCount": .integer(layerCount),
      "maxPositionCount": .integer(maxPositionCount),
      "mlpBias": mlpBias ? .boolean(true) : nil,
      // The shortest decimal of the float32, not that of its double.
      "rmsNormEpsilon": .number(Double(rmsNormEpsilon.description) ?? Double(rmsNormEpsilon)),
      "ropeScaling": ropeScaling.json,
      "ropeTheta": .number(ropeTheta),
      "tiesWordEmbeddings": .boolean(tiesWordEmbeddings),
      "vocabularySize": .integer(vocabularySize),
    ])
  }

  init(_ reader: MetadataReader) throws(Refusal) {
    func token(_ value: Int) throws(Refusal) -> Int32 {
      guard let token = Int32(exactly: value) else { throw reader.fault("\(value) is not a token") }
      return token
    }
    var endOfTextTokens: [Int32] = []
    for value in try reader.integers("endOfTextTokens") { endOfTextTokens.append(try token(value)) }
    self.init(
      hiddenSize: try reader.integer("hiddenSize"),
      intermediateSize: try reader.integer("intermediateSize"),
      layerCount: try reader.integer("layerCount"),
      headCount: try reader.integer("headCount"),
      kvHeadCount: try reader.integer("kvHeadCount"),
      headDim: try reader.integer("headDim"),
      vocabularySize: try reader.integer("vocabularySize"),
      rmsNormEpsilon: Float(try reader.number("rmsNormEpsilon")),
      ropeTheta: try reader.number("ropeTheta"),
      ropeScaling: try reader.optionalObject("ropeScaling").map { reader throws(Refusal) in
        try RopeScaling(reader)
      } ?? .none,
      maxPositionCount: try reader.integer("maxPositionCount"),
      tiesWordEmbeddings: try reader.boolean("tiesWordEmbeddings"),
      beginOfTextToken: try reader.optionalInteger("beginOfTextToken").map(token),
      endOfTextTokens: endOfTextTokens,
      attentionInputBias: try reader.optionalBoolean("attentionInputBias") ?? false,
      attentionOutputBias: try reader.optionalBoolean("attentionOutputBias") ?? false,
      mlpBias: try reader.optionalBoolean("mlpBias") ?? false)
  }
}

extension RopeScaling {
  /// nil for none.
  var json: JSONValue? {
    switch self {
    case .none: nil
    case .linear(let factor):
      .members(["factor": .number(factor), "kind": .string("linear")])
    case .dynamic(let factor, let positions):
      .members([
        "factor": .number(factor), "kind": .string("dynamic"), "originalPositionCount": .integer(positions),
      ])
    case .yarn(let yarn):
      .members([
        "attentionFactor": .number(yarn.attentionFactor),
        "betaFast": .number(yarn.betaFast),
        "betaSlow": .number(yarn.betaSlow),
        "factor": .number(yarn.factor),
        "kind": .string("yarn"),
        "originalPositionCount": .integer(yarn.originalPositionCount),
        "truncates": .boolean(yarn.truncates),
      ])
    case .llama3(let factor, let low, let high, let positions):
      .members([
        "factor": .number(factor),
        "highFrequencyFactor": .number(high),
        "kind": .string("llama3"),
        "lowFrequencyFactor": .number(low),
        "originalPositionCount": .integer(positions),
      ])
    case .divisors(let divisors):
      .members(["divisors": .array(divisors.map { .number($0) }), "kind": .string("divisors")])
    }
  }

  init(_ reader: MetadataReader) throws(Refusal) {
    func factor() throws(Refusal) -> Double { try reader.number("factor") }
    switch try reader.string("kind") {
    case "linear": self = .linear(factor: try factor())
    case "dynamic":
      self = .dynamic(factor: try factor(), originalPositionCount: try reader.integer("originalPositionCount"))
    case "yarn":
      self = .yarn(
        Yarn(
          factor: try factor(), originalPositionCount: try reader.integer("originalPositionCount"),
          betaFast: try reader.number("betaFast"), betaSlow: try reader.number("betaSlow"),
          attentionFactor: try reader.number("attentionFactor"), truncates: try reader.boolean("truncates")))
    case "llama3":
      self = .llama3(
        factor: try factor(), lowFrequencyFactor: try reader.number("lowFrequencyFactor"),
        highFrequencyFactor: try reader.number("highFrequencyFactor"),
        originalPositionCount: try reader.integer("originalPositionCount"))
    case "divisors": self = .divisors(try reader.numbers("divisors"))
    case let other: throw reader.fault("\"\(other)\" is not a way of scaling rotary positions")
    }
  }
}

extension SharedLLMConfiguration {
  var json: JSONValue {
    .members([
      "chunkSize": .integer(chunkSize),
      "encoder": encoder?.json,
      "injectedLayerCount": .integer(injectedLayerCount),
      "injection": .string(injection.rawValue),
      "leafRatio": .integer(leafRatio),
      "lowerModel": .string(lowerModel.rawValue),
      "place": injectionPlace == .bottom ? nil : .string(injectionPlace.rawValue),
      "positionMode": .string(positionMode.rawValue),
      "treeDepth": .integer(treeDepth),
    ])
  }

  init(_ reader: MetadataReader) throws(Refusal) {
    self.init(
      injectedLayerCount: try reader.integer("injectedLayerCount"),
      injectionPlace: try reader.optionalString("place") == nil ? .bottom : reader.choice("place"),
      chunkSize: try reader.integer("chunkSize"),
      treeDepth: try reader.integer("treeDepth"),
      leafRatio: try reader.integer("leafRatio"),
      positionMode: try reader.choice("positionMode"),
      injection: try reader.choice("injection"),
      lowerModel: try reader.choice("lowerModel"),
      encoder: try reader.optionalObject("encoder").map { reader throws(Refusal) in try LlamaConfiguration(reader) })
  }
}
