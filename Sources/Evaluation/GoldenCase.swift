import CanonicalJSON
public import ContextTrees
public import Conversion
public import FileAccess
import LlamaRuntime
import ModelPacks
import NodeBlocks
import PackedTiles
import SharedPack

/// A folder with a checkpoint, a case and the numbers that another implementation computed for it.
///
/// `config.json` and `model.safetensors` are a checkpoint; `case.json` has the policy, the tokens of the context and of
/// the running text, the preserved nodes of every chunk and the greedy tokens; `expected.safetensors` the numbers. For
/// a plain checkpoint, `case.json` also has the options of the converter: `injected_layers`, `chunk_size`, `tree_depth`
/// and `leaf_ratio`.
public struct GoldenCase: Sendable {
  /// The numbers that the weights are computed with.
  public enum Numeric: String, Sendable, CaseIterable {
    case float, int8
  }

  public let directory: String
  public let policy: SearchPolicy
  public let context: [Int32]
  public let runningText: [Int32]
  public let greedy: [Int32]
  /// The preserved nodes of each chunk.
  public let trees: [[GoldenNode]]
  public let expected: SafetensorsFile
  /// The options that a plain checkpoint is converted with; nil where `config.json` has them.
  private let injectedLayers, chunkSize, treeDepth, leafRatio: Int?

  /// - Throws: `Refusal` `missing-file`, `malformed-case` or `malformed-safetensors`.
  public init(reading directory: String) throws(Refusal) {
    self.directory = directory
    let path = "\(directory)/case.json"
    let json = try JSONValue(reading: path, limit: 1 << 28)
    func tokens(_ key: String) throws(Refusal) -> [Int32] {
      let values = json[key]?.array?.compactMap { $0.integer.flatMap { Int32(exactly: $0) } }
      guard let values, values.count == json[key]?.array?.count else {
        throw Refusal(.malformedCase, file: path, structure: key, "is not a list of tokens")
      }
      return values
    }
    switch json["policy"]?.string {
    case "right": policy = .right
    case "left": policy = .left
    case "cosine": policy = .cosine
    default: throw Refusal(.malformedCase, file: path, structure: "policy", "is not right, left or cosine")
    }
    context = try tokens("context")
    runningText = try tokens("running_text")
    greedy = try tokens("greedy")
    let chunks = json["trees"]?.array?.map { $0.array?.map(GoldenNode.init(json:)) ?? [nil] } ?? [[nil]]
    guard chunks.allSatisfy({ $0.allSatisfy { $0 != nil } }), !runningText.isEmpty else {
      throw Refusal(.malformedCase, file: path, structure: "trees", "are not lists of nodes")
    }
    trees = chunks.map { $0.compactMap { $0 } }
    func option(_ key: String) throws(Refusal) -> Int? {
      guard let value = json[key] else { return nil }
      guard let number = value.integer else {
        throw Refusal(.malformedCase, file: path, structure: key, "is not a whole number")
      }
      return number
    }
    injectedLayers = try option("injected_layers")
    chunkSize = try option("chunk_size")
    treeDepth = try option("tree_depth")
    leafRatio = try option("leaf_ratio")
    expected = try SafetensorsFile(reading: "\(directory)/expected.safetensors")
  }
}

/// A preserved node, as `case.json` describes it.
public struct GoldenNode: Sendable, Hashable {
  public let path: String
  public let start: Int
  public let end: Int
  public let ratio: Int

  init(_ node: TreeNode) {
    path = node.path
    start = node.range.lowerBound
    end = node.range.upperBound
    ratio = node.ratio
  }

  init?(json: JSONValue) {
    guard let path = json["path"]?.string, let start = json["start"]?.integer, let end = json["end"]?.integer,
      let ratio = json["ratio"]?.integer
    else { return nil }
    (self.path, self.start, self.end, self.ratio) = (path, start, end, ratio)
  }
}

/// The result of running a case.
public struct GoldenResult: Sendable {
  public let tensors: SafetensorsFile
  public let trees: [[GoldenNode]]
  public let greedy: [Int32]
}

extension GoldenCase {
  /// Runs the case through the ordinary code: convert, open, encode, select, read, decode.
  /// - Throws: `Refusal`; those of the converter and the runtime.
  public func run(_ numeric: Numeric, groupSize: Int = 128, threadCount: Int? = nil) throws(Refusal) -> GoldenResult {
    let temporary = try Directory.temporary("sharedpack-golden")
    defer { try? Directory.removeTree(temporary) }
    var options = Converter.Options()
    options.encoding = numeric == .float ? .float32 : .int8(groupSize: groupSize)
    (options.injectedLayers, options.chunkSize) = (injectedLayers, chunkSize)
    (options.treeDepth, options.leafRatio) = (treeDepth, leafRatio)
    let pack = "\(temporary)/model.spk"
    _ = try Converter(directory: directory, options: options).run(output: pack)
    let model = try LanguageModel(opening: pack, threadCount: threadCount)
    try model.requireTokens(context + runningText + greedy, file: "\(directory)/case.json")
    let document = try model.encode(
      context, named: "context", encoding: numeric == .float ? .float32 : .int8, borders: .fixed)
    let selection = try model.select(from: [document], search: TreeSearch(policy), query: runningText)

    let plain = Session(model.runtime, capacity: runningText.count)
    let session = Session(
      model.runtime, capacity: runningText.count + greedy.count, context: selection.context)
    let vocabulary = model.configuration.vocabularySize
    let logits = session.readAll(runningText)
    var next = Array(logits.suffix(vocabulary))
    var sampler = Sampler(.greedy)
    var tokens: [Int32] = []
    var decoded: [Float] = []
    for expected in greedy {
      tokens.append(sampler.choose(next))
      // The session continues with the expected token, so that the logits after a token that differs can be compared.
      next = session.read(CollectionOfOne(expected))
      decoded += next
    }

    var tensors = try rows(document, selection, model)
    func rowsOfLogits(_ values: [Float]) -> SafetensorsFile.Tensor {
      SafetensorsFile.Tensor(shape: [values.count / vocabulary, vocabulary], values: .float32(values))
    }
    tensors["plain_logits"] = rowsOfLogits(plain.readAll(runningText))
    tensors["logits"] = rowsOfLogits(logits)
    tensors["decode_logits"] = rowsOfLogits(decoded)
    return GoldenResult(
      tensors: SafetensorsFile(tensors), trees: selection.nodes.map { $0.map(GoldenNode.init) }, greedy: tokens)
  }

  /// The injected rows, as floats: chunk, in-node position, un-rotated keys and values of the first and last layer.
  private func rows(
    _ document: ContextDocument, _ selection: ContextSelection, _ model: LanguageModel
  ) throws(Refusal) -> [String: SafetensorsFile.Tensor] {
    guard let layout = document.configuration.tree?.layout else { preconditionFailure("golden cases have trees") }
    var chunks: [Int32] = []
    var positions: [Int32] = []
    var floats: [String: [Float]] = [:]
    for (number, (chunk, nodes)) in zip(document.chunks, selection.nodes).enumerated() {
      for node in nodes {
        chunks += [Int32](repeating: Int32(number), count: node.rowCount)
        positions += (0..<node.rowCount).map { Int32(node.position(row: $0)) }
        let block = try chunk.block(of: node)
        for (layer, name) in [(0, "layer0"), (layout.layerCount - 1, "last_injected")] {
          let rows = block.rows(layer: layer)
          floats["memory_key_\(name)_unrotated", default: []] += model.runtime.unrotatedKeys(
            rows.keys, node: node, layout: layout)
          floats["memory_value_\(name)", default: []] += rows.values
        }
      }
    }
    var tensors = floats.mapValues {
      SafetensorsFile.Tensor(shape: [chunks.count, layout.kvHeadCount, layout.headDim], values: .float32($0))
    }
    tensors["memory_rows_chunk"] = SafetensorsFile.Tensor(shape: [chunks.count], values: .int32(chunks))
    tensors["memory_rows_position"] = SafetensorsFile.Tensor(shape: [chunks.count], values: .int32(positions))
    return tensors
  }
}

extension Refusal.Name {
  public static let malformedCase = Refusal.Name("malformed-case", .badInput)
}
