import ArgumentParser
import CanonicalJSON
import FileAccess
import SharedPack
import TreeStore

extension StoreCommand {
  struct Repair: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a damaged store good, of what is left.",
      discussion: """
        sharedpack store repair library
        sharedpack store repair library --yes
        sharedpack store repair library --yes --model model.spk --texts letters/

        Says what it would do; --yes does it. Deletes nothing: what is damaged or does not
        belong to the store goes into its directory `quarantine`. A model encodes again
        what is missing, from tokens that can still be read, from texts that the store
        keeps and from those that are named.
        Exits with 65 when something is lost or missing, or is still to be done.
        """)

    @Argument(help: "The store.", completion: .directory)
    var store: String

    @Flag(help: "Do it.")
    var yes = false

    @Option(
      help: ArgumentHelp("Encode again what is missing with this model pack, the store's.", valueName: "pack"),
      completion: .file(extensions: ["spk"]))
    var model: String?

    @Option(
      parsing: .upToNextOption,
      help: ArgumentHelp(
        "With a model: text files, and directories of them, whose documents are lost or incomplete.",
        valueName: "paths"),
      completion: .file())
    var texts: [String] = []

    @Option(help: ArgumentHelp("Number of threads, 1 to 1024.", valueName: "count"))
    var threads: ThreadCountArgument?

    @OptionGroup var memory: MemoryArguments
    @OptionGroup var output: OutputOptions

    func validate() throws {
      guard texts.isEmpty || model != nil else { throw ValidationError("--texts needs --model.") }
    }

    func run() throws {
      let sources = texts.isEmpty ? [] : try DocumentSource.find(texts)
      let language = try model.map { try memory.open($0, threads: threads) }
      let bar = SharedProgress("Checking", mode: output.progress)
      let report =
        try yes
        ? StoreRepair.repair(store) { bar.update($0, of: $1) } : StoreRepair.plan(store) { bar.update($0, of: $1) }
      bar.finish()
      if !output.json {
        for action in report.actions {
          Console.output("\(yes ? "" : "would ")\(action.kind.rawValue)\t\(action.file)\t\(action.what)")
        }
      }
      var (lost, incomplete) = (report.lostDocuments, report.incompleteDocuments)
      var reports: [StoreBuilder.Report] = []
      var encodedChunkCount = 0
      if yes, let language {
        if !report.readableTokens.isEmpty {
          var healing = try ChunkHealing(store, model: language)
          encodedChunkCount = try healing.encode(report.readableTokens)
        }
        reports = try encode(sources, language, lost: lost, incomplete: incomplete.map(\.name))
        let left = try StoreRepair.examine(store)
        let restored = Set(reports.map(\.name))
        (lost, incomplete) = (lost.filter { !restored.contains($0) }, left.incompleteDocuments)
      }
      let isDone = lost.isEmpty && incomplete.isEmpty && (yes || report.actions.isEmpty)
      if output.json {
        Console.output(json(report, lost, incomplete, reports, encodedChunkCount, isDone: isDone))
      } else {
        if encodedChunkCount > 0 { Console.output("encoded\t\(Format.count(encodedChunkCount, "chunk")) from tokens") }
        for report in reports { Console.output("\(report.outcome.rawValue)\t\(report.name)") }
        StoreCommand.show(lost: lost, incomplete: incomplete)
        if report.actions.isEmpty {
          Console.output("\(store): nothing to repair")
        } else if !yes {
          Console.output("\(store): nothing was written; --yes does it")
        } else {
          Console.output("\(store): repaired, generation \(report.generation)")
        }
      }
      if !isDone { throw ExitCode(ExitStatus.badInput.rawValue) }
    }

    /// Encodes texts whose documents are not whole: those that are named, and those that the store keeps.
    private func encode(
      _ sources: [DocumentSource], _ model: LanguageModel, lost: [String], incomplete: [String]
    ) throws(Refusal) -> [StoreBuilder.Report] {
      guard !lost.isEmpty || !incomplete.isEmpty else { return [] }
      var builder = try StoreBuilder(continuing: store, model: model)
      var reports: [StoreBuilder.Report] = []
      for name in lost + incomplete {
        var bar = ProgressBar("Encoding \(name)", unit: .tokens, mode: output.progress)
        defer { bar.finish() }
        if let source = sources.first(where: { $0.name == name }) {
          reports.append(try builder.add(source, waits: true) { bar.update($0, of: $2, worked: $1) })
        } else if let report = try builder.encodeAgain(name, progress: { bar.update($0, of: $2, worked: $1) }) {
          reports.append(report)
        }
      }
      try builder.commit()
      return reports
    }

    private func json(
      _ report: RepairReport, _ lost: [String], _ incomplete: [IncompleteDocument], _ reports: [StoreBuilder.Report],
      _ encodedChunkCount: Int, isDone: Bool
    ) -> JSONValue {
      .members([
        "path": .string(store), "dry_run": .boolean(!yes), "ok": .boolean(isDone),
        "actions": .array(
          report.actions.map {
            .members(["kind": .string($0.kind.rawValue), "file": .string($0.file), "what": .string($0.what)])
          }),
        "encoded_chunks": .integer(encodedChunkCount),
        "documents": .array(
          reports.map { .members(["name": .string($0.name), "outcome": .string($0.outcome.rawValue)]) }),
        "lost_documents": .array(lost.map(JSONValue.string)),
        "incomplete_documents": StoreCommand.json(incomplete),
      ])
    }
  }

  struct Salvage: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Write what can be read of a ruined store into a new one.",
      discussion: """
        sharedpack store salvage library -o saved

        Needs no manifest: segments and catalog tables say what they hold. Writes nothing
        into the store that it reads, and goes on where it was stopped.
        """)

    @Argument(help: "The store, or what is left of it.", completion: .directory)
    var store: String

    @Option(name: .shortAndLong, help: ArgumentHelp("The new store.", valueName: "directory"), completion: .directory)
    var output: String

    @OptionGroup var options: OutputOptions

    func run() throws {
      let bar = SharedProgress("Reading", mode: options.progress)
      let report = try StoreSalvage.salvage(store, into: output) { bar.update($0, of: $1) }
      bar.finish()
      if options.json {
        Console.output(
          .members([
            "store": .string(output), "chunks": .integer(report.chunkCount),
            "documents": .array(report.documents.map(JSONValue.string)),
            "lost_documents": .array(report.lostDocuments.map(JSONValue.string)),
            "faults": .array(report.faults.map { .string($0.refusal.description) }),
          ]))
      } else {
        for fault in report.faults { Console.error("sharedpack: \(fault.refusal)") }
        StoreCommand.show(lost: report.lostDocuments)
        Console.output(
          "\(output): \(Format.count(report.documents.count, "document")) saved, \(report.lostDocuments.count) lost; "
            + "\(Format.count(report.chunkCount, "chunk")) copied")
      }
      if !report.lostDocuments.isEmpty { throw ExitCode(ExitStatus.badInput.rawValue) }
    }
  }

  struct Merge: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Copy the documents of stores into another one.",
      discussion: """
        sharedpack store merge library shard1 shard2

        All of one model and one way of reading. Chunks that are there already are not
        copied, and a document that is there with the same text is left as it is. Goes on
        where it was stopped.
        """)

    @Argument(help: "The store; created if it does not exist.", completion: .directory)
    var store: String

    @Argument(help: "The other stores.", completion: .directory)
    var others: [String]

    @Flag(help: "Replace a document that has the name of another text.")
    var replace = false

    @OptionGroup var output: OutputOptions

    func run() throws {
      let sources = try others.map { try TreeStore(opening: $0) }
      for source in sources {
        if FileStatus(source.path) == FileStatus(store) {
          throw Refusal(.alreadyExists, file: source.path, "is the store itself")
        }
        try source.configuration.require(sources[0].configuration, file: source.path)
      }
      var writer = try TreeStoreWriter(opening: store, creating: sources[0].configuration)
      var reports: [(String, MergeReport)] = []
      for source in sources {
        let bar = SharedProgress("Merging \(source.path)", mode: output.progress)
        let report = try writer.merge(source, replacing: replace) { bar.update($0, of: $1) }
        bar.finish()
        reports.append((source.path, report))
        guard !output.json else { continue }
        Console.output(
          "\(source.path)\t\(Format.count(report.addedDocuments.count, "document")) added, "
            + "\(report.replacedDocuments.count) replaced, \(report.sameDocumentCount) there already; "
            + "\(Format.count(report.copiedChunkCount, "chunk")) copied")
      }
      guard output.json else { return }
      Console.output(
        .members([
          "store": .string(store),
          "merged": .array(
            reports.map { path, report in
              .members([
                "path": .string(path), "added": .array(report.addedDocuments.map(JSONValue.string)),
                "replaced": .array(report.replacedDocuments.map(JSONValue.string)),
                "same": .integer(report.sameDocumentCount), "copied_chunks": .integer(report.copiedChunkCount),
              ])
            }),
        ]))
    }
  }
}
