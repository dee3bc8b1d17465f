public import ArgumentParser
import CanonicalJSON
public import ContextTrees
import FileAccess
import NodeBlocks
import SharedPack
import TreeStore

/// How nodes of trees are chosen, as an argument.
enum PolicyArgument: String, ExpressibleByArgument, CaseIterable {
  case cosine, bm25, right, left, random

  func policy(seed: UInt64) -> SearchPolicy {
    switch self {
    case .cosine: .cosine
    case .bm25: .bm25
    case .right: .right
    case .left: .left
    case .random: .random(seed: seed)
    }
  }
}

/// How many nodes of trees are opened, as an argument.
extension TreeExpansion: ExpressibleByArgument {
  public init?(argument: String) { self.init(name: argument) }

  public static var allValueStrings: [String] { ["best-first", "path", "both:0.25", "none:0.25", "best-first:0.75"] }
}

/// How keys and values are stored, as an argument.
enum RowEncodingArgument: String, ExpressibleByArgument, CaseIterable {
  case int8, f16, f32

  var encoding: RowEncoding {
    switch self {
    case .int8: .int8
    case .f16: .float16
    case .f32: .float32
    }
  }
}

struct AskCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ask",
    abstract: "Ask a question about documents.",
    discussion: """
      sharedpack ask model.spk --store library --document emma.txt "Who is she?"
      sharedpack ask model.spk --document notes.txt "What was decided?"

      Documents are read in the order in which they are named. A name that the store
      has stands for the stored document; any other is a text file, which is encoded
      for this question.

      A plain model reads, of text files of any length, the chunks that share rare
      words with the question.
      """)

  @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
  var model: String

  @Argument(help: "The question; - reads it from standard input.")
  var question: String

  @Option(help: ArgumentHelp("The store that has the documents.", valueName: "directory"), completion: .directory)
  var store: String?

  @Option(
    name: .customLong("document"),
    help: ArgumentHelp("A stored document's name, or a text file. Repeatable.", valueName: "name"),
    completion: .file())
  var documents: [String]

  @Option(
    help: ArgumentHelp(
      "How trees are searched: cosine (by the question's meaning), bm25 (by its rare words), right, left or random.",
      valueName: "policy"))
  var policy = PolicyArgument.cosine

  @Option(
    help: ArgumentHelp(
      "How many nodes of trees are opened where the policy looks at the question: best-first (the best of all chunks; :N for N times the rows), path (one path a chunk, the paper's), both:SHARE or none:SHARE.",
      valueName: "expansion"))
  var expansion = TreeExpansion.bestFirst

  @Option(
    help: ArgumentHelp("How text files that are encoded now keep their rows: int8, f16 or f32.", valueName: "form"))
  var kv: RowEncodingArgument?

  @Flag(help: "Ask without the model's chat template, if it has one.")
  var raw = false

  @OptionGroup var reading: DeepReadingArguments
  @OptionGroup var generation: GenerationArguments
  @OptionGroup var memory: MemoryArguments
  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard !documents.isEmpty else { throw ValidationError("Name a --document to ask about.") }
    guard kv == nil || store == nil else {
      throw ValidationError("--kv is for text files that are encoded now; with --store they are kept as there.")
    }
  }

  func run() async throws {
    let model = try memory.open(model, threads: generation.threads)
    let library = try store.map { path throws(Refusal) in try DocumentStore(opening: path, model: model) }
    let text = try TextArgument.text(question)
    guard !text.isEmpty else { throw Refusal(.emptyPrompt, file: "question", "has no text") }
    if model.pack.sharedLLM == nil {
      if store != nil { _ = try model.requireTrees(.int8) }
      return try await askPlainModel(model, text)
    }
    let prompt = try model.chatTemplate != nil && !raw ? model.chatPrompt([.user(text)]) : model.textPrompt(text)
    let encoding = kv?.encoding ?? library?.store.configuration.layout.encoding ?? .int8
    var sources: [ContextDocument] = []
    for name in documents { sources.append(try document(name, model: model, library: library, encoding: encoding)) }
    let selection = try model.select(
      from: sources, search: TreeSearch(policy.policy(seed: generation.seed), expansion: expansion),
      query: prompt)
    if model.injectionIsUntrained {
      Console.error("sharedpack: the injection of this model is untrained (merged softmax): expect little of it")
    }
    try await ResponsePrinter.print(
      try model.generate(prompt, context: selection, options: generation.options), output: output,
      facts: [
        JSONValue.Member("question", .string(text)),
        JSONValue.Member(
          "documents",
          .array(
            sources.map {
              .members([
                "name": .string($0.name), "tokens": .integer($0.tokenCount), "chunks": .integer($0.chunks.count),
              ])
            })),
      ])
  }

  /// Reads the chunks that fit the question.
  private func askPlainModel(_ model: LanguageModel, _ question: String) async throws {
    var sources: [PlainDocument] = []
    for path in documents {
      sources.append(try model.plainDocument(DocumentSource(name: path, path: path), reading: reading.reading))
    }
    let passages = try model.passages(of: sources, for: question, reading: reading.reading)
    let frame = try model.readingFrame(usesChatTemplate: !raw)
    let selection = try model.read(passages, of: sources, behind: frame)
    for passage in passages {
      let source = sources[passage.document]
      Console.error(
        "sharedpack: reading \(source.name), chunk \(passage.chunk + 1) of \(source.chunks.count) "
          + "(score \(Format.rounded(Double(passage.score))))")
    }
    try await ResponsePrinter.print(
      try model.generate(
        try model.questionPrompt(question, in: frame), context: selection, options: generation.options),
      output: output,
      facts: [
        JSONValue.Member("question", .string(question)),
        JSONValue.Member(
          "documents",
          .array(
            sources.map {
              .members([
                "name": .string($0.name), "tokens": .integer($0.tokens.count), "chunks": .integer($0.chunks.count),
              ])
            })),
        JSONValue.Member(
          "sources",
          .array(
            passages.map {
              .members([
                "document": .string(sources[$0.document].name), "chunk": .integer($0.chunk),
                "score": .number(Double($0.score)),
              ])
            })),
      ])
  }

  /// A stored document, or a text file that is encoded now.
  private func document(
    _ name: String, model: LanguageModel, library: DocumentStore?, encoding: RowEncoding
  ) throws(Refusal) -> ContextDocument {
    if let library, library.store.document(named: name) != nil { return try library.document(named: name) }
    guard Directory.exists(name) != nil else {
      if let library { return try library.document(named: name) }
      throw Refusal(.missingFile, file: name, "is not a text file, and no --store was named")
    }
    var bar = ProgressBar("Encoding \(name)", unit: .tokens, mode: output.progress)
    defer { bar.finish() }
    return try model.encode(DocumentSource(name: name, path: name), encoding: encoding) { bar.update($0, of: $1) }
  }
}
