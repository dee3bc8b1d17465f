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
  case int4, int8, f16, f32

  var encoding: RowEncoding {
    switch self {
    case .int4: .int4
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

      With --store, documents are named as there, or by the end of their names from a
      slash on (emma.txt for novels/emma.txt) where only one document has it; a name
      with * or ? stands for all that are named like it, and --all for the whole store.
      Without it, they are text files that are read for this question. They are read in
      the order in which they are named.

      A plain model reads the chunks that share rare words with the question or, told
      so by --reading exact, the whole of one document that fits its window. A model
      that was trained for it reads context trees.

      What --explain shows, and --json always has: for each chunk that is read its
      bytes in the text, its score, and the question's words that it has, with what
      each gives to the score, or the nodes of its tree.
      """)

  @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
  var model: String

  @Argument(help: "The question; - reads it from standard input.")
  var question: String

  @Option(help: ArgumentHelp("The store that has the documents.", valueName: "directory"), completion: .directory)
  var store: String?

  @Option(
    name: .customLong("document"),
    help: ArgumentHelp(
      "A stored document's name, a pattern of names such as 'letters/*', or a text file. Repeatable.",
      valueName: "name"),
    completion: .file())
  var documents: [String] = []

  @Flag(help: "Ask about all documents of the store.")
  var all = false

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

  @Option(help: ArgumentHelp("A system message for the chat template.", valueName: "text"))
  var system: String?

  @Flag(help: "Ask without the model's chat template, if it has one.")
  var raw = false

  @Flag(help: "Show the text of the chunks that are read.")
  var showSources = false

  @Flag(help: "Show where the chunks that are read lie in the text, and why they are read.")
  var explain = false

  @Option(
    help: ArgumentHelp(
      "Rows of keys and values that are read of all chunks for each layer, at most: the best chunks come first. For deep reading and for trees in the expansion best-first.",
      valueName: "count"))
  var maxRows: Int?

  @OptionGroup var reading: ReadingArguments
  @OptionGroup var rows: RowArguments
  @OptionGroup var texts: TextEncodingArguments
  @OptionGroup var deep: DeepReadingArguments
  @OptionGroup var generation: GenerationArguments
  @OptionGroup var memory: MemoryArguments
  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard all || !documents.isEmpty else { throw ValidationError("Name a --document to ask about.") }
    guard !all || documents.isEmpty && store != nil else {
      throw ValidationError("--all is for the documents of a --store, and names no others.")
    }
    guard
      store == nil
        || rows.isEmpty && reading.reading == nil && deep.chunkSize == nil && system == nil
          && texts.encoding == .automatic
    else {
      throw ValidationError(
        "--kv, --keep, --reading, --chunk-size, --system and --encoding are for text files; with --store, texts are read and kept as it was built."
      )
    }
    guard reading.reading != .exact || documents.count == 1 else {
      throw ValidationError("--reading exact reads one document.")
    }
    if let maxRows {
      guard maxRows > 0 else { throw ValidationError("--max-rows must be at least 1.") }
      guard reading.reading != .exact else { throw ValidationError("--reading exact reads all rows.") }
      guard case .bestNodes = search.expansion else {
        throw ValidationError("--max-rows is for the expansion best-first, with a policy that looks at the question.")
      }
    }
  }

  func run() async throws {
    let model = try memory.open(model, threads: generation.threads)
    let library = try store.map { path throws(Refusal) in try DocumentStore(opening: path, model: model) }
    let text = try TextArgument.text(question)
    guard !text.isEmpty else { throw Refusal(.emptyPrompt, file: "question", "has no text") }
    let inquiry =
      if let library { try inquire(text, in: library) } else { try inquireAboutFiles(text, model) }
    if inquiry.context?.isInjected == true, model.injectionIsUntrained {
      Console.error("sharedpack: the injection of this model is untrained (merged softmax): expect little of it")
    }
    if inquiry.unreadableSegments > 0 {
      Console.error(
        "sharedpack: \(Format.count(inquiry.unreadableSegments, "segment")) of the store cannot be read and "
          + "\(inquiry.unreadableSegments == 1 ? "was" : "were") not searched; `sharedpack verify` says why")
    }
    if explain { for source in inquiry.sources { Console.error(SourcePrinter.line(source, of: inquiry)) } }
    for (passage, text) in zip(inquiry.passages, inquiry.passageTexts) where !explain || showSources {
      let document = inquiry.documents[passage.document]
      Console.error(
        "sharedpack: reading \(document.name), chunk \(passage.chunk + 1) of \(document.chunkCount) "
          + "(score \(Format.rounded(Double(passage.score))))")
      if showSources {
        Console.error(lines: text.split(separator: "\n").map { "  | \($0)" }.joined(separator: "\n") + "\n")
      }
    }
    try await ResponsePrinter.print(
      try model.generate(inquiry, options: try generation.options(for: model)), output: output,
      echo: inquiry.answerStart, isInjected: inquiry.context?.isInjected == true,
      facts: [
        JSONValue.Member("question", .string(text)), JSONValue.Member("answer_start", .string(inquiry.answerStart)),
        JSONValue.Member(
          "documents",
          .array(
            inquiry.documents.map {
              .members([
                "name": .string($0.name), "tokens": .integer($0.tokenCount), "chunks": .integer($0.chunkCount),
              ])
            })),
        JSONValue.Member("sources", SourcePrinter.json(inquiry)),
      ])
  }

  private var search: TreeSearch {
    TreeSearch(policy.policy(seed: generation.seed), expansion: expansion, rowLimit: maxRows)
  }

  /// Whether sources are shown.
  private var explains: Bool { explain || output.json }

  private func reading(of model: LanguageModel) -> DeepReading {
    var reading = deep.reading(of: model)
    reading.rowLimit = maxRows
    return reading
  }

  private func inquire(_ question: String, in library: DocumentStore) throws(Refusal) -> Inquiry {
    var pattern: NamePattern?
    if documents.count == 1, try isPattern(documents[0], in: library) { pattern = NamePattern(documents[0]) }
    if all || pattern != nil {
      return try library.inquiry(
        question, aboutAll: pattern, search: search, reading: reading(of: library.model), usesChatTemplate: !raw,
        explains: explains)
    }
    var names: [String] = []
    for document in documents {
      for name in try self.names(of: document, in: library) {
        if names.contains(name) { Self.sayNamedTwice(document) } else { names.append(name) }
      }
    }
    return try library.inquiry(
      question, about: names, search: search, reading: reading(of: library.model), usesChatTemplate: !raw,
      explains: explains)
  }

  /// A document may be named like a pattern.
  private func isPattern(_ name: String, in library: DocumentStore) throws(Refusal) -> Bool {
    guard NamePattern(name).isWild else { return false }
    return try library.store.document(named: name) == nil
  }

  /// The documents that an argument stands for.
  private func names(of document: String, in library: DocumentStore) throws(Refusal) -> [String] {
    if try isPattern(document, in: library) {
      let names = try library.store.documents(matching: NamePattern(document)).map(\.name)
      guard names.isEmpty else { return names }
      throw Refusal(.missingDocument, file: library.store.path, "no document is named like \"\(document)\"")
    }
    do throws(Refusal) {
      return [try library.store.requireDocument(named: document).name]
    } catch {
      // A name that the store does not have may have been meant as a file.
      guard error.name == .missingDocument, Directory.exists(document) != nil else { throw error }
      throw Refusal(
        .missingDocument, file: library.store.path, structure: "document \"\(document)\"",
        "is not in the store, but a file: add it with `sharedpack store build`, or ask without --store")
    }
  }

  private func inquireAboutFiles(_ question: String, _ model: LanguageModel) throws(Refusal) -> Inquiry {
    if let missing = documents.first(where: { Directory.exists($0) == nil }) {
      throw Refusal(.missingFile, file: missing, "is not a text file, and no --store was named")
    }
    var sources: [DocumentSource] = []
    var seen: Set<FileStatus> = []
    for document in documents {
      if let status = FileStatus(document), !seen.insert(status).inserted {
        Self.sayNamedTwice(document)
        continue
      }
      var source = DocumentSource(name: document, path: document)
      source.encoding = texts.encoding
      sources.append(source)
    }
    do throws(Refusal) {
      return try inquire(question, sources, model)
    } catch {
      throw texts.explained(error)
    }
  }

  private static func sayNamedTwice(_ document: String) {
    Console.error("sharedpack: \(document): named twice, read once")
  }

  private func inquire(
    _ question: String, _ sources: [DocumentSource], _ model: LanguageModel
  ) throws(Refusal) -> Inquiry {
    switch try reading.manner(of: model) {
    case .trees:
      let encoding = try rows.treeEncoding(model)
      var trees: [ContextDocument] = []
      for source in sources {
        var bar = ProgressBar("Encoding \(source.name)", unit: .tokens, mode: output.progress)
        defer { bar.finish() }
        trees.append(try model.encode(source, encoding: encoding) { bar.update($0, of: $1) })
      }
      return try model.inquiry(question, about: trees, search: search, usesChatTemplate: !raw, explains: explains)
    case .texts(let manner):
      let frame = try model.readingFrame(usesChatTemplate: !raw, system: system)
      let reading = try rows.reading(reading(of: model), manner, model, sources: sources, frame: frame)
      var texts: [TextDocument] = []
      for source in sources { texts.append(try model.textDocument(source, reading: reading)) }
      if manner == .exact, let text = texts.first {
        return try model.inquiry(question, aboutAllOf: text, behind: frame)
      }
      return try model.inquiry(question, about: texts, behind: frame, reading: reading, explains: explains)
    }
  }
}
