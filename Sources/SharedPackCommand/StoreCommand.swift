import ArgumentParser
import CanonicalJSON
import ContextTrees
import FileAccess
import ModelPacks
import NodeBlocks
import SharedPack
import TreeStore

struct StoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "store",
    abstract: "Build and maintain stores of encoded documents.",
    subcommands: [Build.self, List.self, Show.self, Remove.self, Statistics.self, Collect.self])
}

/// How cold blocks are compressed, as an argument.
enum CompressionArgument: String, ExpressibleByArgument, CaseIterable {
  case none, lz4, zstd

  var compression: Compression {
    switch self {
    case .none: .none
    case .lz4: .lz4
    case .zstd: .zstd
    }
  }
}

extension StoreCommand {
  struct Build: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Encode texts into a store.",
      discussion: """
        sharedpack store build model.spk book.txt letters/ --store library

        Chunks that are stored already are not encoded again, so an interrupted build
        resumes where it stopped. Hidden files in directories are skipped.

        A store has one model and one way of reading. For a plain model that is deep
        (texts of any length, of which a question reads some chunks) or exact (each text
        as the beginning of a long prompt, within the model's window; a longer version of
        a text continues where the stored one ends).
        """)

    @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
    var model: String

    @Argument(help: "Text files, and directories of text files.", completion: .file())
    var paths: [String]

    @Option(
      help: ArgumentHelp("The store; created if it does not exist.", valueName: "directory"), completion: .directory)
    var store: String

    @OptionGroup var reading: ReadingArguments

    @OptionGroup var chunks: ChunkSizeArguments

    @Option(
      help: ArgumentHelp(
        "A system message that stands before all texts, in the model's chat template. A store has one.",
        valueName: "text"))
    var system: String?

    @Flag(help: "Read texts without the model's chat template, if it has one.")
    var raw = false

    @OptionGroup var rows: RowArguments

    @Option(
      help: ArgumentHelp(
        "Compress new blocks: none, lz4 or zstd. Compressed blocks are not mapped.", valueName: "method"))
    var compress = CompressionArgument.none

    @OptionGroup var borders: ChunkBordersArguments

    @Flag(help: "Replace a stored document that has the name of a text.")
    var replace = false

    @Option(help: ArgumentHelp("Number of threads, 1 to 1024.", valueName: "count"))
    var threads: ThreadCountArgument?

    @Flag(help: "Report what would be encoded, and write nothing.")
    var dryRun = false

    @OptionGroup var memory: MemoryArguments
    @OptionGroup var output: OutputOptions

    func run() throws {
      let model = try memory.open(model, threads: threads)
      let sources = try DocumentSource.find(paths)
      let manner = try reading.manner(of: model)
      var deep = model.reading
      if let chunkSize = chunks.chunkSize { deep.chunkSize = chunkSize }
      var frame: ReadingFrame?
      if case .texts(let manner) = manner {
        if system != nil || raw {
          frame = try model.readingFrame(usesChatTemplate: !raw, system: system)
        } else {
          frame = StoreBuilder.frame(of: store)
        }
        if frame == nil { frame = try model.readingFrame() }
        if let frame {
          deep = try rows.reading(deep, manner, model, sources: sources, frame: frame, store: store)
        }
      }
      if dryRun {
        switch manner {
        case .trees:
          return show(
            try StoreBuilder.plan(
              sources, model: model, encoding: try rows.treeEncoding(model), borders: borders.value))
        case .texts(let manner):
          return show(try StoreBuilder.plan(sources, model: model, manner: manner, reading: deep))
        }
      }
      var builder = try builder(model, manner, deep, frame)
      var reports: [StoreBuilder.Report] = []
      for source in sources {
        var bar = ProgressBar("Encoding \(source.name)", unit: .tokens, mode: output.progress)
        let report = try builder.add(source, replacing: replace) { done, encoded, total in
          bar.update(done, of: total, worked: encoded)
        }
        bar.finish()
        reports.append(report)
        if !output.json {
          Console.output(
            "\(report.outcome.rawValue)\t\(report.name)\t\(Format.count(report.tokenCount, "token"))\t"
              + "\(Format.count(report.chunkCount, "chunk"))\t\(report.encodedTokenCount) tokens encoded")
        }
      }
      if output.json {
        Console.output(
          .members([
            "store": .string(store),
            "reading": .string(name(of: manner, model)),
            "encoded_tokens": .integer(reports.reduce(0) { $0 + $1.encodedTokenCount }),
            "documents": .array(
              reports.map {
                .members([
                  "name": .string($0.name), "outcome": .string($0.outcome.rawValue), "tokens": .integer($0.tokenCount),
                  "chunks": .integer($0.chunkCount), "encoded_tokens": .integer($0.encodedTokenCount),
                ])
              }),
          ]))
      }
    }

    private func builder(
      _ model: LanguageModel, _ manner: ReadingArguments.Manner, _ deep: DeepReading, _ frame: ReadingFrame?
    ) throws(Refusal) -> StoreBuilder {
      switch manner {
      case .trees:
        if model.injectionIsUntrained {
          Console.error("sharedpack: the injection of this model is untrained (merged softmax)")
        }
        return try StoreBuilder(
          opening: store, model: model, encoding: try rows.treeEncoding(model), compression: compress.compression,
          borders: borders.value)
      case .texts(let manner):
        switch manner {
        case .exact:
          return try StoreBuilder(exactly: store, model: model, frame: frame, compression: compress.compression)
        case .deep:
          return try StoreBuilder(
            deeply: store, model: model, reading: chunks.chunkSize == nil && rows.isEmpty ? nil : deep, frame: frame,
            compression: compress.compression)
        }
      }
    }

    private func name(of manner: ReadingArguments.Manner, _ model: LanguageModel) -> String {
      switch manner {
      case .trees: model.injectionIsUntrained ? "trees (untrained)" : "trees"
      case .texts(let manner): "\(manner)"
      }
    }

    private func show(_ plan: StoreBuilder.Plan) {
      if output.json {
        Console.output(
          .members([
            "documents": .integer(plan.documentCount), "tokens": .integer(plan.tokenCount),
            "store_bytes": .integer(plan.byteCount),
          ]))
      } else {
        Console.output(
          "\(Format.count(plan.documentCount, "document")), \(Format.count(plan.tokenCount, "token")), "
            + "about \(Format.bytes(plan.byteCount)) to store, less what is there"
        )
      }
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "ls", abstract: "List the documents of a store.", discussion: "sharedpack store ls library")

    @Argument(help: "The store.", completion: .directory)
    var store: String

    @OptionGroup var output: JSONOption

    func run() throws {
      let store = try TreeStore(opening: store)
      if output.json {
        Console.output(.array(store.documents.map { json($0) }))
      } else {
        for document in store.documents {
          Console.output(
            "\(document.name)\t\(Format.count(document.tokenCount, "token"))\t"
              + "\(Format.count(document.chunks.count, "chunk"))\t"
              + Format.bytes(document.textByteCount))
        }
      }
    }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show a document of a store.", discussion: "sharedpack store show library emma.txt")

    @Argument(help: "The store.", completion: .directory)
    var store: String

    @Argument(help: "The document's name.")
    var document: String

    @OptionGroup var output: JSONOption

    func run() throws {
      let document = try TreeStore(opening: store).requireDocument(named: document)
      if output.json {
        Console.output(json(document, listingChunks: true))
      } else {
        Console.output(
          """
          name    \(document.name)
          text    \(document.textByteCount) bytes, SHA-256 \(document.textDigest)
          tokens  \(document.tokenCount)
          chunks  \(document.chunks.count)
          """)
        for (number, chunk) in document.chunks.enumerated() { Console.output("  \(number)\t\(chunk)") }
      }
    }
  }

  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "rm", abstract: "Remove documents from a store.",
      discussion: """
        sharedpack store rm library emma.txt

        `sharedpack store gc` frees the space of what no other document uses.
        """)

    @Argument(help: "The store.", completion: .directory)
    var store: String

    @Argument(help: "The documents' names.")
    var documents: [String]

    @OptionGroup var output: JSONOption

    func run() throws {
      try DocumentStore.removeDocuments(named: documents, from: store)
      if output.json {
        Console.output(.members(["removed": .array(documents.map(JSONValue.string))]))
      } else {
        for document in documents { Console.output("removed\t\(document)") }
      }
    }
  }

  struct Collect: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "gc", abstract: "Free the space of chunks that no document uses.",
      discussion: """
        sharedpack store gc library
        sharedpack store gc library --all

        Files of which more than half is used are kept as they are, unless --all is
        given: then nothing of a removed text is left. What cannot be read is kept.
        """)

    @Argument(help: "The store.", completion: .directory)
    var store: String

    @Flag(help: "Leave nothing of what no document uses.")
    var all = false

    @OptionGroup var output: JSONOption

    func run() throws {
      let report = try DocumentStore.collectGarbage(in: store, all: all)
      if output.json {
        Console.output(
          .members([
            "freed_bytes": .integer(report.freedByteCount), "removed_chunks": .integer(report.removedChunks),
            "dropped_segments": .integer(report.droppedSegments),
            "rewritten_segments": .integer(report.rewrittenSegments),
            "damaged_chunks": .integer(report.damagedChunks),
            "unreadable_segments": .integer(report.unreadableSegments),
          ]))
      } else {
        Console.output(
          "freed \(Format.bytes(report.freedByteCount)): \(Format.count(report.removedChunks, "chunk")), "
            + "\(Format.count(report.droppedSegments, "segment")) dropped, \(report.rewrittenSegments) rewritten")
        if report.damagedChunks + report.unreadableSegments > 0 {
          Console.error(
            "sharedpack: \(store): kept what cannot be read: \(Format.count(report.damagedChunks, "chunk")), "
              + "\(Format.count(report.unreadableSegments, "segment")); build their texts again")
        }
      }
    }
  }

  struct Statistics: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "stats", abstract: "Show how much a store holds.", discussion: "sharedpack store stats library")

    @Argument(help: "The store.", completion: .directory)
    var store: String

    @OptionGroup var output: JSONOption

    func run() throws {
      let store = try TreeStore(opening: store)
      if output.json {
        Console.output(StoreDescription.json(store))
      } else {
        Console.output(StoreDescription.text(store))
      }
    }
  }
}

private func json(_ document: StoredDocument, listingChunks: Bool = false) -> JSONValue {
  .members([
    "name": .string(document.name),
    "tokens": .integer(document.tokenCount),
    "chunks": listingChunks
      ? .array(document.chunks.map { .string($0.description) }) : .integer(document.chunks.count),
    "text_bytes": .integer(document.textByteCount),
    "text_sha256": .string(document.textDigest.description),
  ])
}

/// A description of a store.
enum StoreDescription {
  static func text(_ store: TreeStore) -> String {
    let configuration = store.configuration
    let statistics = store.statistics
    return """
      store       \(store.path), generation \(store.generation)
      model       \(configuration.modelIdentity)
      reading     \(reading(configuration))
      rows        \(rows(configuration))
      documents   \(statistics.documents), \(statistics.tokens) tokens
      chunks      \(statistics.uniqueChunks) stored for \(statistics.chunks) in documents
      segments    \(statistics.segments), \(Format.bytes(statistics.totalByteCount))\
      \(statistics.unreadableSegments == 0 ? "" : ", \(statistics.unreadableSegments) of them unreadable")
      live        \(Format.bytes(statistics.liveByteCount)), \
      \(Format.bytes(statistics.deadByteCount)) to free
      blocks      \(Format.rounded(statistics.compression * 100))% of their uncompressed size
      """
  }

  static func json(_ store: TreeStore) -> JSONValue {
    let configuration = store.configuration
    let statistics = store.statistics
    var members = [
      JSONValue.Member("path", .string(store.path)), JSONValue.Member("generation", .integer(store.generation)),
    ]
    if case .object(let form) = configuration.json { members += form }
    let counts: KeyValuePairs = [
      "documents": statistics.documents, "tokens": statistics.tokens, "chunks": statistics.chunks,
      "unique_chunks": statistics.uniqueChunks, "segments": statistics.segments,
      "unreadable_segments": statistics.unreadableSegments, "bytes": statistics.totalByteCount,
      "live_bytes": statistics.liveByteCount, "dead_bytes": statistics.deadByteCount,
    ]
    members += counts.map { JSONValue.Member($0.key, .integer($0.value)) }
    return .object(members)
  }

  private static func reading(_ configuration: TreeStoreConfiguration) -> String {
    switch configuration.form {
    case .tree(let form):
      "trees of chunks of \(form.shape.chunkSize) tokens, depth \(form.shape.depth), leaf ratio \(form.shape.leafRatio)"
    case .text(let form):
      "\(form.manner), in chunks of \(form.chunkSize) tokens behind a frame of \(form.frame.opening.count)"
    }
  }

  private static func rows(_ configuration: TreeStoreConfiguration) -> String {
    let kept = configuration.text.map { "\($0.keptText) kept, " } ?? ""
    let heads = configuration.heads
    return "\(configuration.rowEncoding), \(kept)\(heads.layers) layers, \(heads.kvHeads) heads of \(heads.headDim)"
  }
}
