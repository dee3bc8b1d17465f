import ArgumentParser
import FileAccess
import NodeBlocks
import SharedPack
import TreeStore

/// How documents are read, as an argument.
enum ReadingArgument: String, ExpressibleByArgument, CaseIterable {
  case trees, deep, exact
}

/// How documents are read, as an option.
struct ReadingArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "How documents are read: deep (the chunks that fit a question, in all layers; of any length), exact (as one long prompt, within the model's window) or trees (for a model that was trained for it, else untrained). (default: trees for a model that has them, else deep)",
      valueName: "manner"))
  var reading: ReadingArgument?

  enum Manner {
    case trees
    case texts(ReadingManner)
  }

  func manner(of model: LanguageModel) throws(Refusal) -> Manner {
    switch reading ?? (model.pack.sharedLLM == nil ? .deep : .trees) {
    case .trees:
      _ = try model.requireTrees(.int8)
      return .trees
    case .deep: return .texts(.deep)
    case .exact: return .texts(.exact)
    }
  }
}

/// How texts are cut that are read deeply, as an option.
struct ChunkSizeArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "For deep reading: tokens of a chunk, 64 to 1024. (default: the model's, if it was tuned, else \(DeepReading().chunkSize))",
      valueName: "tokens"))
  var chunkSize: Int?

  func validate() throws {
    guard chunkSize.map((64...1024).contains) ?? true else {
      throw ValidationError("--chunk-size must be 64 to 1024.")
    }
  }
}

/// How documents of any length are read, as options.
struct DeepReadingArguments: ParsableArguments {
  @OptionGroup var size: ChunkSizeArguments

  @Option(
    name: .customLong("chunks"),
    help: ArgumentHelp(
      "For deep reading: chunks that are read for a question, at most. (default: the model's, if it was tuned, else \(DeepReading().chunkCount))",
      valueName: "count"))
  var chunkCount: Int?

  @Option(
    help: ArgumentHelp(
      "For deep reading: tokens of later chunks that are computed again for a question, with those before in view: whole blocks of 64, or a whole chunk; 0 for none.",
      valueName: "tokens"))
  var repair = DeepReading().repair

  var chunkSize: Int? { size.chunkSize }

  /// What is not given is as the model has it.
  func reading(of model: LanguageModel) -> DeepReading {
    DeepReading(
      chunkSize: chunkSize ?? model.reading.chunkSize, chunkCount: chunkCount ?? model.reading.chunkCount,
      repair: repair)
  }

  func validate() throws {
    guard chunkCount.map((1...4096).contains) ?? true else {
      throw ValidationError("--chunks must be 1 to 4096.")
    }
    guard (0...1024).contains(repair) else { throw ValidationError("--repair must be 0 to 1024.") }
  }
}

/// How keys and values are kept, as options.
struct RowArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "How keys and values are kept: int4, int8, f16 or f32. (default: as the store has them; else int8 for trees, and for deep reading int4, or floats of a model that keeps its own so)",
      valueName: "form"))
  var kv: RowEncodingArgument?

  @Option(
    help: ArgumentHelp(
      "For deep reading: the share of rows that is kept, of each chunk those that the model looks at when it repeats it. Heads keep more or less, as they need; a store keeps what its first texts were measured to need.",
      valueName: "share"))
  var keep: Double?

  var isEmpty: Bool { kv == nil && keep == nil }

  func validate() throws {
    guard keep.map({ $0 > 0 && $0 <= 1 }) ?? true else { throw ValidationError("--keep must be above 0, at most 1.") }
  }

  /// - Parameter store: the path of a store, whose encoding it is if none is given.
  func treeEncoding(_ model: LanguageModel, store: String? = nil) throws(Refusal) -> RowEncoding {
    guard keep == nil else {
      throw Refusal(.unsupportedEncoding, file: model.pack.path, "--keep is for deep reading, not for trees")
    }
    return kv?.encoding ?? store.flatMap(StoreBuilder.treeEncoding) ?? .int8
  }

  /// - Parameters:
  ///   - sources: texts on which it is measured what each head keeps.
  ///   - frame: what they are read behind.
  ///   - store: the path of a store, whose shares stay as they are.
  func reading(
    _ reading: DeepReading, _ manner: ReadingManner, _ model: LanguageModel, sources: [DocumentSource],
    frame: ReadingFrame, store: String? = nil
  ) throws(Refusal) -> DeepReading {
    guard manner == .deep || isEmpty else {
      throw Refusal(
        .unsupportedEncoding, file: model.pack.path,
        "--kv and --keep are for deep reading; exact reading keeps all, as it is")
    }
    var reading = reading
    reading.encoding = kv?.encoding
    guard let keep, keep < 1 else { return reading }
    reading.shares = store.flatMap { StoreBuilder.reading(of: $0)?.shares }
    if reading.shares == nil {
      // What is wrong with a text is said when it is added.
      var texts: [[Int32]] = []
      var reader = DocumentReader(sources.filter { !$0.isStandardInput })
      while texts.count < 16 {
        do throws(Refusal) {
          guard let document = try reader.next() else { break }
          texts.append(try model.documentTokens(document.text, file: document.place))
        } catch { continue }
      }
      guard !texts.isEmpty else {
        throw Refusal(
          .emptyDocument, file: "--keep", "is measured on the first texts, and there is none that can be read twice")
      }
      reading.shares = try model.headShares(keeping: keep, of: texts, reading: reading, frame: frame)
    }
    return reading
  }
}
