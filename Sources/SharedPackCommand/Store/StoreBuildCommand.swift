import ArgumentParser
import CanonicalJSON
import FileAccess
import ModelPacks
import NodeBlocks
import SharedPack
import TreeStore

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
}
