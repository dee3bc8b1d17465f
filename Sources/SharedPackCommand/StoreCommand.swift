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
        """)

    @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
    var model: String

    @Argument(help: "Text files, and directories of text files.", completion: .file())
    var paths: [String]

    @Option(
      help: ArgumentHelp("The store; created if it does not exist.", valueName: "directory"), completion: .directory)
    var store: String

    @Option(help: ArgumentHelp("How keys and values are stored: int8, f16 or f32.", valueName: "form"))
    var kv = RowEncodingArgument.int8

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
      if dryRun {
        return show(try StoreBuilder.plan(sources, model: model, encoding: kv.encoding, borders: borders.value))
      }
      if model.injectionIsUntrained {
        Console.error("sharedpack: the injection of this model is untrained (merged softmax)")
      }
      var builder = try StoreBuilder(
        opening: store, model: model, encoding: kv.encoding, compression: compress.compression, borders: borders.value)
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
            "injection": .string(model.injectionIsUntrained ? "merged-softmax (untrained)" : "cross-attention"),
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
      discussion: "sharedpack store gc library")

    @Argument(help: "The store.", completion: .directory)
    var store: String

    @OptionGroup var output: JSONOption

    func run() throws {
      let report = try DocumentStore.collectGarbage(in: store)
      if output.json {
        Console.output(
          .members([
            "freed_bytes": .integer(report.freedByteCount), "removed_chunks": .integer(report.removedChunks),
            "dropped_segments": .integer(report.droppedSegments),
            "rewritten_segments": .integer(report.rewrittenSegments),
          ]))
      } else {
        Console.output(
          "freed \(Format.bytes(report.freedByteCount)): \(Format.count(report.removedChunks, "chunk")), "
            + "\(Format.count(report.droppedSegments, "segment")) dropped, \(report.rewrittenSegments) rewritten")
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
      trees       chunks of \(configuration.shape.chunkSize) tokens, depth \(configuration.shape.depth), \
      leaf ratio \(configuration.shape.leafRatio)
      rows        \(configuration.layout.encoding), \(configuration.layout.layerCount) layers, \
      \(configuration.layout.kvHeadCount) heads of \(configuration.layout.headDim)
      documents   \(statistics.documents), \(statistics.tokens) tokens
      chunks      \(statistics.uniqueChunks) stored for \(statistics.chunks) in documents
      segments    \(statistics.segments), \(Format.bytes(statistics.totalByteCount))
      live        \(Format.bytes(statistics.liveByteCount)), \
      \(Format.bytes(statistics.deadByteCount)) to free
      blocks      \(Format.rounded(statistics.compression * 100))% of their uncompressed size
      """
  }

  static func json(_ store: TreeStore) -> JSONValue {
    let configuration = store.configuration
    let statistics = store.statistics
    return .members([
      "path": .string(store.path),
      "generation": .integer(store.generation),
      "model_identity": .string(configuration.modelIdentity.description),
      "chunk_size": .integer(configuration.shape.chunkSize),
      "tree_depth": .integer(configuration.shape.depth),
      "leaf_ratio": .integer(configuration.shape.leafRatio),
      "row_encoding": .string("\(configuration.layout.encoding)"),
      "injected_layers": .integer(configuration.layout.layerCount),
      "row_numerics": .string(configuration.rowNumerics),
      "documents": .integer(statistics.documents),
      "tokens": .integer(statistics.tokens),
      "chunks": .integer(statistics.chunks),
      "unique_chunks": .integer(statistics.uniqueChunks),
      "segments": .integer(statistics.segments),
      "bytes": .integer(statistics.totalByteCount),
      "live_bytes": .integer(statistics.liveByteCount),
      "dead_bytes": .integer(statistics.deadByteCount),
    ])
  }
}
