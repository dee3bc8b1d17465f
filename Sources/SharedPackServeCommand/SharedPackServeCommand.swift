import ArgumentParser
import ChatService
import CommandSupport
import FileAccess
import Glibc
import HTTPService
import SharedPack

/// `sharedpack-serve`, which `sharedpack serve` starts: a program of its own, so that the other commands do without what
/// a server needs.
@main
struct SharedPackServeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sharedpack serve",
    abstract: "Answer over HTTP, as OpenAI's clients ask.",
    discussion: """
      sharedpack serve model.spk --store library

      Clients use http://127.0.0.1:8080/v1; a browser shows a page at
      http://127.0.0.1:8080/. Documents of the store are named in a request
      ("documents": ["emma.txt"]) or with the model (MODEL@emma.txt; MODEL@* for all).

      Only this machine reaches the server unless --host says so, and another address
      needs --api-key-file: a file with a key in each line. With keys, --store is a
      folder of stores: one for each key, which no other key sees, and, if it is there,
      the folder shared, which all keys read and none writes.

      SIGTERM or Ctrl-C: running answers end, within --grace seconds; twice: at once.
      """)

  @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
  var model: String

  @Option(
    help: ArgumentHelp("The store of documents; created with the first one.", valueName: "directory"),
    completion: .directory)
  var store: String?

  @Option(help: ArgumentHelp("The address to listen on.", valueName: "address"))
  var host = "127.0.0.1"

  @Option(help: ArgumentHelp("The port to listen on; 0 takes a free one.", valueName: "number"))
  var port = 8080

  @Option(
    help: ArgumentHelp("A file with a key in each line: only who has one may ask.", valueName: "file"),
    completion: .file())
  var apiKeyFile: String?

  @Option(
    name: .customLong("host-name"),
    help: ArgumentHelp(
      "A name under which clients reach the server, such as that of a proxy. Repeatable.", valueName: "name"))
  var hostNames: [String] = []

  @Option(
    name: .customLong("allow-origin"),
    help: ArgumentHelp(
      "A page's origin, such as https://example.org, that may ask; * for all. Repeatable.", valueName: "origin"))
  var origins: [String] = []

  @Option(help: ArgumentHelp("What clients call the model; the pack's name without it.", valueName: "name"))
  var modelName: String?

  @Option(help: ArgumentHelp("Answers that are written at once, 1 to 256.", valueName: "count"))
  var parallel = 8

  @Option(help: ArgumentHelp("Requests that wait for their turn; more are told to try again.", valueName: "count"))
  var queue = 64

  @Option(
    help: ArgumentHelp("Memory for conversations that may go on, such as 500M; 0 keeps none.", valueName: "size"))
  var cacheMemory = ByteCountArgument(count: 1 << 30)

  @Option(
    help: ArgumentHelp(
      "A conversation that does not fit the window: refuse, or chunks.",
      discussion:
        "With chunks (or trees) its oldest messages leave the window and become chunks in memory, of which the question "
        + "reads what it needs, as of documents. They take as much as --cache-memory says; usage tells what has left.",
      valueName: "what"))
  var overflow = Overflow.refuse

  @Option(
    help: ArgumentHelp(
      "Memory for weights and answers, such as 800M or 2G. Without it: half of what the system has available for answers.",
      valueName: "size"))
  var memoryLimit: ByteCountArgument?

  @Option(
    help: ArgumentHelp("Tokens of an answer, at most, where a request says nothing of it.", valueName: "count"))
  var maxTokens = 1024

  @Option(help: ArgumentHelp("Seconds that running answers have when the server is told to end.", valueName: "seconds"))
  var grace = 30

  @Option(help: ArgumentHelp("Bytes of a document that is sent, at most.", valueName: "size"))
  var uploadLimit = ByteCountArgument(count: 64 << 20)

  @Option(help: ArgumentHelp("Number of threads, 1 to 1024; answers do not depend on it.", valueName: "count"))
  var threads: Int?

  @OptionGroup var positions: PositionArguments

  func validate() throws {
    guard (0...65_535).contains(port) else { throw ValidationError("--port must be 0 to 65535.") }
    guard (1...256).contains(parallel) else { throw ValidationError("--parallel must be 1 to 256.") }
    guard (0...100_000).contains(queue) else { throw ValidationError("--queue must be 0 to 100000.") }
    guard maxTokens > 0 else { throw ValidationError("--max-tokens must be at least 1.") }
    guard (0...86_400).contains(grace) else { throw ValidationError("--grace must be 0 to 86400.") }
    guard threads.map({ (1...1024).contains($0) }) ?? true else {
      throw ValidationError("--threads must be 1 to 1024.")
    }
    guard (1...(1 << 30)).contains(uploadLimit.count) else {
      throw ValidationError("--upload-limit must be 1 to 1G.")
    }
    guard overflow == .refuse || cacheMemory.count > 0 else {
      throw ValidationError("--overflow chunks keeps them in memory: --cache-memory 0 leaves none.")
    }
    for origin in origins where origin != "*" && (!origin.hasPrefix("http") || origin.hasSuffix("/")) {
      throw ValidationError("--allow-origin is like https://example.org: no path, no slash at its end.")
    }
    var settings = ServerSettings()
    settings.host = host
    guard settings.isLoopback || apiKeyFile != nil else {
      throw ValidationError("--host \(host) lets other machines in: that needs --api-key-file.")
    }
  }

  func run() async throws {
    var settings = ServerSettings()
    settings.host = host
    settings.port = port
    settings.hostNames = hostNames
    settings.origins = origins
    settings.graceSeconds = grace
    settings.uploadLimit = uploadLimit.count
    if let apiKeyFile {
      let text = try DocumentSource(name: apiKeyFile, path: apiKeyFile).text()
      settings.keys = try KeyRing(parsing: String(decoding: text, as: UTF8.self), file: apiKeyFile)
    }
    let model = try LanguageModel(
      opening: model, threadCount: threads, memoryLimit: memoryLimit?.count,
      positions: positions.positions)
    try model.verifyWeights()
    let library = try store.map { (path) throws(Refusal) in
      try DocumentLibrary(path, isByKey: settings.keys != nil, model: model)
    }
    let engine = AnswerEngine(
      model,
      limits: AnswerLimits(
        parallel: parallel, queue: queue, memory: memoryForAnswers(model), keptMemory: cacheMemory.count))
    let chat = ChatService(
      engine, library: library, modelName: name, answerLimit: maxTokens,
      overflow: overflow == .refuse ? nil : try OverflowMemory(model, limit: cacheMemory.count))
    let service = HTTPService(chat, settings: settings) { Self.log($0) }
    let (host, grace, keys, store) = (settings.host, settings.graceSeconds, settings.keys?.count, store)
    Interruption.atFirst {
      Self.log("ending; running answers have \(grace) s")
      Task { await service.end() }
      // Whatever happens to what is open, the process ends.
      Task {
        try? await Task.sleep(for: .seconds(grace + 5))
        _exit(0)
      }
    }
    try await service.run { port in
      Self.log(Self.greeting(chat, host: host, port: port, keys: keys, store: store))
    }
  }

  /// What the limit leaves beside the weights; nil without one.
  private func memoryForAnswers(_ model: LanguageModel) -> Int? {
    memoryLimit.map { max($0.count - model.pack.byteCount, $0.count / 4) }
  }

  /// What clients call the model.
  private var name: String {
    if let modelName { return modelName }
    let file = Directory.split(model).name
    return file.hasSuffix(".spk") && file.count > 4 ? String(file.dropLast(4)) : file
  }

  private static func greeting(
    _ chat: ChatService, host: String, port: Int, keys: Int?, store: String?
  ) -> String {
    let shown = host.contains(":") && !host.hasPrefix("[") ? "[\(host)]" : host
    let limits = chat.engine.limits
    var text = "http://\(shown):\(port)/v1 answers for \(chat.modelName)"
    if let store { text += ", documents in \(store)" }
    if let keys { text += ", \(keys) key\(keys == 1 ? "" : "s")" }
    text += "; \(limits.parallel) answers at once, \(limits.queue) may wait"
    guard let memory = limits.memory else { return text }
    let megabytes = [chat.engine.model.pack.byteCount, memory, min(limits.keptMemory, memory)].map { $0 / 1_000_000 }
    return text
      + "; memory: \(megabytes[0]) MB of weights, \(megabytes[1]) MB for answers, of which conversations keep "
      + "\(megabytes[2]) MB"
  }

  /// A line of what happens, in which clients may be quoted.
  private static func log(_ text: String) { StandardError.write(line: "sharedpack: \(text)") }

  static func main() async {
    StandardDescriptors.occupy()
    Allocator.prepare()
    signal(SIGPIPE, SIG_IGN)
    signal(SIGXFSZ, SIG_IGN)
    do {
      _ = Interruption.watch()
      var command = try parseAsRoot()
      if var command = command as? any AsyncParsableCommand {
        try await command.run()
      } else {
        try command.run()
      }
    } catch let refusal as Refusal {
      log((MappingFaults.first ?? refusal).description)
      Glibc.exit(refusal.name.exitStatus.rawValue)
    } catch {
      let (message, code) = (fullMessage(for: error), exitCode(for: error))
      if code.isSuccess { print(message) } else if !message.isEmpty { StandardError.write(lines: message) }
      Glibc.exit(code.rawValue)
    }
  }
}

/// What happens to a conversation that does not fit the window, as an argument.
enum Overflow: String, ExpressibleByArgument, CaseIterable {
  case refuse, chunks

  init?(argument: String) { self.init(rawValue: argument == "trees" ? "chunks" : argument) }
}
