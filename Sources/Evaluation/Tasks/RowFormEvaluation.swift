import CanonicalJSON
import EvaluationTasks
import FileAccess
import Glibc
public import NodeBlocks
public import SharedPack
import TreeStore

/// What it costs and what it changes to keep rows in fewer bytes.
///
/// A model that follows instructions is asked about facts in novels, from the stored rows of the chunks that fit the
/// question; one that reads trees is asked for pass keys. Every form sees the same samples.
public struct RowFormEvaluation: Sendable {
  /// How rows are kept; the first is what the others are compared with.
  public var encodings: [RowEncoding] = [.float16, .int8, .int4]
  /// Shares of rows that are kept.
  public var shares: [Double] = [1]
  public var compressions: [Compression] = [.none, .zstd]
  /// Tokens of the text of a sample.
  public var length = 4096
  public var sampleCount = 100
  public var reading = DeepReading()
  public var seed: UInt64 = 1

  public init() {}

  private struct Form {
    let encoding: RowEncoding
    let share: Double
    var right: [Double] = []
    var seconds: [Double] = []
    var divergence: [Double] = []
    /// The share of places at which the most likely token is that of the first form.
    var agreement: [Double] = []
    var storage: [Storage]

    struct Storage {
      var tokenCount = 0
      var byteCount = 0
      /// Bytes as the kernels read them, and the time to make them of what is stored; 0 where that is the same.
      var expandedByteCount = 0
      var seconds = 0.0
    }
  }

  /// - Parameters:
  ///   - sources: texts that facts are hidden in; the shares of heads are measured on them.
  ///   - progress: called with samples done, of how many.
  /// - Throws: `Refusal` `no-tokenizer`, `unsupported-encoding`, `task-does-not-fit`, and those of asking.
  public func run(
    _ model: LanguageModel, haystack sources: [EvaluationSource], progress: (_ done: Int, _ of: Int) -> Void
  ) async throws -> EvaluationResult {
    let start = ContinuousClock.now
    let reader = try reader(model, sources)
    var forms = shares.flatMap { share in
      encodings.map { encoding in
        Form(
          encoding: encoding, share: share,
          storage: [Form.Storage](repeating: Form.Storage(), count: compressions.count))
      }
    }
    for number in 0..<sampleCount {
      var expected: [[Double]] = []
      for (index, answer) in try await reader.ask(number).enumerated() {
        let vocabulary = model.configuration.vocabularySize
        let found = stride(from: 0, to: answer.logits.count, by: vocabulary).map {
          LogProbabilities.of(answer.logits[$0..<$0 + vocabulary])
        }
        if index == 0 { expected = found }
        let places = Double(found.count)
        forms[index].right.append(answer.isRight ? 1 : 0)
        forms[index].seconds.append(answer.secondsToFirstToken)
        forms[index].divergence.append(zip(expected, found).reduce(0) { $0 + Self.divergence($1.0, $1.1) } / places)
        forms[index].agreement.append(
          zip(expected, found).reduce(0) { $0 + (Self.best($1.0) == Self.best($1.1) ? 1 : 0) } / places)
        for (place, compression) in compressions.enumerated() {
          for chunk in answer.chunks {
            forms[index].storage[place].tokenCount += chunk.tokenCount
            for (bytes, geometry) in chunk.blocks {
              Self.add(bytes, geometry, compression, to: &forms[index].storage[place])
            }
          }
        }
      }
      progress(number + 1, sampleCount)
    }
    return result(
      model, forms, reader, sources: sources, seconds: (ContinuousClock.now - start).seconds)
  }

  /// Of probabilities from others, in nats (Kullback-Leibler).
  private static func divergence(_ expected: [Double], _ found: [Double]) -> Double {
    zip(expected, found).reduce(0) { $0 + exp($1.0) * ($1.0 - $1.1) }
  }

  private static func best(_ values: [Double]) -> Int? { values.indices.max { values[$0] < values[$1] } }

  /// Who asks in all forms: encodings one after the other, for each share.
  private func reader(_ model: LanguageModel, _ sources: [EvaluationSource]) throws -> any RowFormReader {
    if let shape = model.runtime.treeShape {
      guard shares == [1] else {
        throw Refusal(
          .unsupportedEncoding, file: model.pack.path, "of trees all rows are kept; --keep is for deep reading")
      }
      let maker = RetrievalTaskMaker(
        tokenizer: try model.requireTokenizer(), haystack: try RetrievalEvaluation.haystack(model, sources),
        chunkSize: shape.chunkSize, style: .trainer, seed: seed)
      return TreeRowFormReader(model: model, maker: maker, length: length, encodings: encodings)
    }
    let maker = try FactSampleMaker(model, haystack: sources, seed: seed)
    var readers: [FactReader] = []
    for share in shares {
      for encoding in encodings {
        var reading = reading
        reading.encoding = encoding
        if share < 1 {
          var texts: [[Int32]] = []
          for text in sources.flatMap(\.texts).prefix(16) {
            texts.append(Array(try model.documentTokens(text, file: "text").prefix(length)))
          }
          reading.shares = try model.headShares(
            keeping: share, of: texts, reading: reading, frame: try model.readingFrame())
        }
        readers.append(try FactReader(model, reading: reading))
      }
    }
    return TextRowFormReader(model: model, maker: maker, length: length, reading: reading, readers: readers)
  }

  /// Counts a block as a store keeps it.
  private static func add(
    _ block: BlockBytes, _ geometry: BlockGeometry, _ compression: Compression, to storage: inout Form.Storage
  ) {
    let packed = compression == .none ? block.bytes.array : compression.compress(block.bytes)
    // As a store chooses.
    let dense = geometry.isStoredDense && geometry.denseByteCount < packed.count ? geometry.dense(block) : nil
    if dense == nil, compression == .none || packed.count >= block.byteCount {
      storage.byteCount += block.byteCount
      return
    }
    storage.byteCount += dense?.byteCount ?? packed.count
    storage.expandedByteCount += block.byteCount
    let start = ContinuousClock.now
    let isSame: Bool
    if let dense {
      isSame = geometry.expanded(dense.bytes) != nil
    } else {
      var isWhole = false
      _ = BlockBytes(byteCount: block.byteCount) { output in
        isWhole = unsafe compression.decompress(packed.span.bytes, into: &output)
      }
      isSame = isWhole
    }
    storage.seconds += (ContinuousClock.now - start).seconds
    precondition(isSame, "what was stored can be read")
  }

  private func result(
    _ model: LanguageModel, _ forms: [Form], _ reader: any RowFormReader, sources: [EvaluationSource], seconds: Double
  ) -> EvaluationResult {
    let bootstrap = Bootstrap(seed: seed)
    var rows: [EvaluationResult.Row] = []
    for (index, form) in forms.enumerated() {
      for (place, compression) in compressions.enumerated() {
        let storage = form.storage[place]
        var measures = [
          "bytes_per_token": Measure(Double(storage.byteCount) / Double(max(storage.tokenCount, 1)))
        ]
        if storage.seconds > 0 {
          measures["expanded_gb_per_second"] = Measure(Double(storage.expandedByteCount) / storage.seconds / 1e9)
        }
        // How bytes are compressed changes no number.
        if place == 0 {
          measures["right"] = .proportion(of: form.right)
          measures["seconds_to_first_token"] = Measure(form.seconds.sorted()[form.seconds.count / 2])
          if index > 0 {
            measures["minus_first"] = bootstrap.difference(form.right, forms[0].right)
            measures["divergence"] = bootstrap.mean(of: form.divergence)
            measures["same_token"] = bootstrap.mean(
              of: form.agreement, areYesOrNo: form.agreement.allSatisfy { $0 == 0 || $0 == 1 })
          }
        }
        rows.append(
          EvaluationResult.Row(
            labels: [
              "kv": .text("\(form.encoding)"), "kept": .text("\(form.share)"), "compression": .text("\(compression)"),
            ], measures: measures))
      }
    }
    return EvaluationResult(
      protocolName: "rows", model: EvaluationResult.Model(model),
      settings: [
        JSONValue.Member("tokens", .integer(length)), JSONValue.Member("reading", self.settings(model)),
        JSONValue.Member("samples", .integer(sampleCount)), JSONValue.Member("seed", .integer(Int(seed))),
        JSONValue.Member("haystack", .array(sources.map { .string($0.domain) })),
      ],
      columns: [
        "kv", "kept", "compression", "bytes_per_token", "expanded_gb_per_second", "seconds_to_first_token",
        "divergence", "same_token", "right", "minus_first",
      ], rows: rows,
      notes: [
        "bytes per token: of keys and values, as a store keeps them",
        "expanded GB per second: what kernels read, made of what is stored, on one thread; nothing where both are the same",
        "seconds to the first token: medians, with the search",
        "divergence: of the probabilities from those of the first row, in nats (Kullback-Leibler), over \(reader.places)",
        "same token: share of these places where the most likely token is that of the first row",
        "right: \(reader.question)",
        "minus first: right, less that of the first row; interval over the differences of each sample",
      ], seconds: seconds)
  }

  /// How the model reads.
  private func settings(_ model: LanguageModel) -> JSONValue {
    if let shape = model.runtime.treeShape {
      return .object([
        JSONValue.Member("chunk", .integer(shape.chunkSize)), JSONValue.Member("tree_depth", .integer(shape.depth)),
        JSONValue.Member("leaf_ratio", .integer(shape.leafRatio)),
      ])
    }
    return .object([
      JSONValue.Member("chunk", .integer(reading.chunkSize)), JSONValue.Member("chunks", .integer(reading.chunkCount)),
      JSONValue.Member("repair", .integer(reading.repair)),
    ])
  }
}
