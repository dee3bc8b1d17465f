import ArgumentParser
import CanonicalJSON
import CommandSupport
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
        sharedpack store build model.spk 'letters/**/*.txt' a.jsonl.zst --store library
        zcat a.jsonl.gz | sharedpack store build model.spk - --jsonl --store library

        Paths are text files, folders with all that is in and below them, patterns
        (with *, ?, [a-z], and ** for folders of any depth) and - for standard input.
        Files may be compressed (.gz, .zst). A .jsonl or .ndjson file has an object in
        each line: "id" or "name", "text" and, if you like, "metadata", an object of
        up to 64 KiB. Hidden files, stores and model packs in folders are not read.

        A document is named by its path from the current directory, or from --root;
        what lies elsewhere by its absolute path without the first slash. So a file
        has one name, however it is found.

        A text with a fault is named and left out; the exit status says so at the end.
        Chunks that are stored already are not encoded again: after Ctrl-C, which
        keeps what is whole, the same command goes on where it stopped.

        A store has one model and one way of reading. For a plain model that is deep
        (texts of any length, of which a question reads some chunks) or exact (each
        text as the beginning of a long prompt, within the model's window; a longer
        version of a text continues where the stored one ends).
        """)

    @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
    var model: String

    @Argument(help: "Text files, folders, patterns, and - for standard input.", completion: .file())
    var paths: [String]

    @Option(
      help: ArgumentHelp("The store; created if it does not exist.", valueName: "directory"), completion: .directory)
    var store: String

    @OptionGroup var encoding: TextEncodingArguments

    @Flag(help: "Take standard input as JSON lines, not as one text.")
    var jsonl = false

    @Option(help: ArgumentHelp("The name of the text on standard input.", valueName: "name"))
    var name = "stdin"

    @Option(help: ArgumentHelp("The folder that names start from.", valueName: "directory"), completion: .directory)
    var root: String?

    @Flag(help: "Stop at the first text that has a fault.")
    var strict = false

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

    @Flag(help: "Keep the texts themselves too, compressed: to show them, and to encode again what is lost.")
    var keepText = false

    @Option(
      help: ArgumentHelp(
        "The most that the store's files may have in all, such as 2G, from now on; 0 for no limit.",
        valueName: "bytes"))
    var maxBytes: ByteCountArgument?

    @Flag(help: "Let the oldest documents that are not pinned make room in a store with --max-bytes.")
    var evict = false

    @Option(
      help: ArgumentHelp(
        "Who may read a store that is created, besides its owner: nobody, group or all.", valueName: "who"))
    var shared = SharingArgument.nobody

    @Flag(help: "Replace a stored document that has the name of a text.")
    var replace = false

    @Option(help: ArgumentHelp("Number of threads, 1 to 1024.", valueName: "count"))
    var threads: ThreadCountArgument?

    @Option(
      help: ArgumentHelp(
        "Take one of several parts of the texts, such as 1/4, by their names.",
        discussion: "`sharedpack store merge` puts the stores together.", valueName: "part"))
    var shard: DocumentShardArgument?

    @Flag(help: "Report what would be encoded, and write nothing.")
    var dryRun = false

    @OptionGroup var memory: MemoryArguments
    @OptionGroup var output: OutputOptions

    func validate() throws {
      guard !jsonl || paths.contains("-") else {
        throw ValidationError("--jsonl is for standard input, which is named -; files of JSON lines end in .jsonl.")
      }
    }

    func run() throws {
      // On the main thread: were it free, signals would be delivered to it and end the program.
      try unsafe withUnsafeCurrentTask { task in
        let cancellation = unsafe task.map { unsafe Cancellation($0) }
        defer { Interruption.atFirst(nil) }
        try work(cancellation)
      }
    }

    /// Cancels the task that builds, from any thread while it does.
    @safe private final class Cancellation: @unchecked Sendable {
      private let task: UnsafeCurrentTask

      @unsafe init(_ task: UnsafeCurrentTask) { unsafe self.task = task }

      func cancel() { unsafe task.cancel() }
    }

    private func work(_ cancellation: Cancellation?) throws {
      let model = try memory.open(model, threads: threads)
      var report = BuildReport(output, encoding)
      let sources = try find(&report)
      guard !sources.isEmpty else { return try report.finish(["store": .string(store)]) }
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
        let fault = { (fault: Refusal) throws(Refusal) in
          if strict { throw encoding.explained(fault) }
          report.add(fault)
        }
        let plan =
          switch manner {
          case .trees:
            try StoreBuilder.plan(
              sources, model: model, encoding: try rows.treeEncoding(model, store: store), borders: borders.value,
              fault: fault)
          case .texts(let manner):
            try StoreBuilder.plan(sources, model: model, manner: manner, reading: deep, fault: fault)
          }
        show(plan)
        return try report.finish(nil)
      }
      var builder = try builder(model, manner, deep, frame)
      builder.evicts = evict
      builder.shard = shard?.shard
      builder.keepsTexts = keepText
      if let maxBytes { builder.setByteLimit(maxBytes.count) }
      Interruption.atFirst {
        Console.error("sharedpack: ending after the chunk that is being encoded; once more ends at once")
        cancellation?.cancel()
      }
      try add(sources, to: &builder, &report)
      try report.finish(["store": .string(store), "reading": .string(name(of: manner, model))])
    }

    /// What the paths name; what is wrong with them is said.
    private func find(_ report: inout BuildReport) throws -> [DocumentSource] {
      var search = DocumentSearch()
      search.root = root
      search.encoding = encoding.encoding
      search.standardInputForm = jsonl ? .jsonLines : .text
      search.standardInputName = name
      search.store = store
      let found = try search.find(paths)
      if strict, let fault = found.faults.first { throw fault }
      report.add(found.skipped)
      for fault in found.faults { report.add(fault) }
      return found.sources
    }

    private func add(
      _ sources: [DocumentSource], to builder: inout StoreBuilder, _ report: inout BuildReport
    ) throws {
      var reader = DocumentReader(sources)
      let textCount = reader.textCount
      var progress = BuildProgress(textCount: textCount, mode: output.progress)
      defer { progress.clear() }
      do throws(Refusal) {
        try builder.add(all: &reader, replacing: replace) { (event, share) throws(Refusal) in
          switch event {
          case .progress: break
          case .added(let document):
            progress.clear()
            report.add(document)
          case .leftOut(let fault):
            progress.clear()
            if strict { throw encoding.explained(fault) }
            report.add(fault)
          }
          progress.show(event, share: share)
        }
      } catch {
        guard error.name == .cancelled else { throw error }
        progress.clear()
        let count = textCount.map { "\(report.documentCount) of \($0)" } ?? "\(report.documentCount)"
        Console.error(
          "sharedpack: interrupted: \(count) texts are stored in \(store); the same command goes on from there")
        try? report.finish(["store": .string(store), "interrupted": .boolean(true)])
        Interruption.endIfReceived()
        throw error
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
          opening: store, model: model, encoding: try rows.treeEncoding(model, store: store),
          compression: compress.compression, borders: borders.value, sharing: shared.sharing)
      case .texts(let manner):
        switch manner {
        case .exact:
          return try StoreBuilder(
            exactly: store, model: model, frame: frame, compression: compress.compression, sharing: shared.sharing)
        case .deep:
          return try StoreBuilder(
            deeply: store, model: model, reading: chunks.chunkSize == nil && rows.isEmpty ? nil : deep, frame: frame,
            compression: compress.compression, sharing: shared.sharing)
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

/// Who may read a store, as an argument.
enum SharingArgument: String, ExpressibleByArgument, CaseIterable {
  case nobody, group, all

  var sharing: StoreSharing {
    switch self {
    case .nobody: .owner
    case .group: .group
    case .all: .everyone
    }
  }
}
