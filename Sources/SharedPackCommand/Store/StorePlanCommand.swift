import ArgumentParser
import CanonicalJSON
import FileAccess
import NodeBlocks
import SharedPack
import TreeStore

extension StoreCommand {
  struct Plan: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Say what building a store of texts would take.",
      discussion: """
        sharedpack store plan model.spk letters/
        sharedpack store plan model.spk letters/ --shards 4

        Documents, tokens, bytes in the store, and the time, from a short sample. With
        --shards also for each part that `sharedpack store build --shard 1/4` and so on
        would build; `sharedpack store merge` puts them together.
        """)

    @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
    var model: String

    @Argument(help: "Text files, and directories of text files.", completion: .file())
    var paths: [String]

    @OptionGroup var reading: ReadingArguments

    @OptionGroup var chunks: ChunkSizeArguments

    @OptionGroup var rows: RowArguments

    @Option(help: ArgumentHelp("Parts that are built apart, 1 to 65536.", valueName: "count"))
    var shards = 1

    @Option(help: ArgumentHelp("Number of threads, 1 to 1024.", valueName: "count"))
    var threads: ThreadCountArgument?

    @OptionGroup var memory: MemoryArguments
    @OptionGroup var output: JSONOption

    func validate() throws {
      guard DocumentShard(number: 1, of: shards) != nil else { throw ValidationError("--shards must be 1 to 65536.") }
    }

    func run() throws {
      let model = try memory.open(model, threads: threads)
      let sources = try DocumentSource.find(paths)
      let manner = try reading.manner(of: model)
      let encoding: RowEncoding? = if case .trees = manner { try rows.treeEncoding(model) } else { nil }
      let speed = try StoreBuilder.tokensPerSecond(of: sources[0], model: model, encoding: encoding)
      var parts: [[DocumentSource]] = Array(repeating: [], count: shards)
      for source in sources { parts[DocumentShard.number(of: source.name, count: shards) - 1].append(source) }
      var plans: [StoreBuilder.Plan] = []
      for part in parts { plans.append(try plan(part, model, manner)) }
      var total = plans[0]
      for plan in plans.dropFirst() {
        total.documentCount += plan.documentCount
        total.tokenCount += plan.tokenCount
        total.byteCount += plan.byteCount
      }
      if output.json {
        var members = json(total, speed)
        if shards > 1 { members.append(JSONValue.Member("shards", .array(plans.map { .object(json($0, speed)) }))) }
        members.append(JSONValue.Member("tokens_per_second", .number(speed)))
        Console.output(.object(members))
      } else {
        for (number, plan) in plans.enumerated() where shards > 1 {
          Console.output("shard \(number + 1)/\(shards)\t\(text(plan, speed))")
        }
        Console.output("\(text(total, speed)), at \(Format.rounded(speed)) tokens/s here, less what is there")
      }
    }

    private func plan(
      _ sources: [DocumentSource], _ model: LanguageModel, _ manner: ReadingArguments.Manner
    ) throws(Refusal) -> StoreBuilder.Plan {
      switch manner {
      case .trees: return try StoreBuilder.plan(sources, model: model, encoding: try rows.treeEncoding(model))
      case .texts(let manner):
        var deep = model.reading
        if let chunkSize = chunks.chunkSize { deep.chunkSize = chunkSize }
        deep = try rows.reading(deep, manner, model, sources: sources, frame: try model.readingFrame())
        return try StoreBuilder.plan(sources, model: model, manner: manner, reading: deep)
      }
    }

    private func text(_ plan: StoreBuilder.Plan, _ speed: Double) -> String {
      "\(Format.count(plan.documentCount, "document")), \(Format.count(plan.tokenCount, "token")), "
        + "about \(Format.bytes(plan.byteCount)), \(Format.duration(Double(plan.tokenCount) / speed))"
    }

    private func json(_ plan: StoreBuilder.Plan, _ speed: Double) -> [JSONValue.Member] {
      [
        JSONValue.Member("documents", .integer(plan.documentCount)),
        JSONValue.Member("tokens", .integer(plan.tokenCount)),
        JSONValue.Member("store_bytes", .integer(plan.byteCount)),
        JSONValue.Member("seconds", .number(Double(plan.tokenCount) / speed)),
      ]
    }
  }
}
