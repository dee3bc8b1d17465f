import ArgumentParser
import SharedPack

struct GenerateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate",
    abstract: "Continue a text.",
    discussion: """
      sharedpack generate model.spk "Once upon a time" --max-tokens 100
      sharedpack generate model.spk - --temperature 0.8 --seed 7 < story.txt
      sharedpack generate chat.spk "Why is the sky blue?" --chat
      sharedpack generate model.spk - --cache-policy streaming < long.txt
      sharedpack generate model.spk - --rope-scaling yarn --rope-factor 4 < long.txt

      With --cache-policy streaming, lm-infinite or infllm, texts can have any length:
      the model sees their first tokens and the most recent ones, and, with infllm, blocks
      of the others that it chooses. The other policies choose, when the prompt has been
      read, which of its rows (keys and values of a head) stay.

      With --rope-scaling the window itself grows, to what the model was not trained
      for.
      """)

  @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
  var model: String

  @Argument(help: "The text to continue; - reads it from standard input.")
  var prompt: String

  @Flag(help: "Wrap the prompt in the model's chat template, as a user's message.")
  var chat = false

  @Option(help: ArgumentHelp("A system message for the chat template.", valueName: "text"))
  var system: String?

  @Flag(help: "Print the prompt before its continuation.")
  var echo = false

  @OptionGroup var generation: GenerationArguments
  @OptionGroup var memory: MemoryArguments
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let model = try memory.open(model, threads: generation.threads)
    let text = try TextArgument.text(prompt)
    let messages = (system.map { [.system($0)] } ?? []) + [ChatMessage.user(text)]
    let tokens = try chat || system != nil ? model.chatPrompt(messages) : model.textPrompt(text)
    try await ResponsePrinter.print(
      try model.generate(tokens, options: try generation.options(for: model)), output: output, echo: echo ? text : "")
  }
}
