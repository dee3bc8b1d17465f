import ArgumentParser
import CanonicalJSON
import FileAccess
import SharedPack
import Tokenization

struct TokenizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenize",
    abstract: "Show the tokens of a text, or the text of tokens.",
    discussion: """
      sharedpack tokenize model.spk "Hello world"
      sharedpack tokenize model.spk - --ids < book.txt
      sharedpack tokenize model.spk --decode "1 15043 3186"
      """)

  @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
  var model: String

  @Argument(help: "The text; - reads it from standard input.")
  var text: String

  @Flag(help: "Print the ids only, in one line.")
  var ids = false

  @Flag(help: "Print the number of tokens only.")
  var count = false

  @Flag(help: "Read the spellings of special tokens in the text as special tokens.")
  var special = false

  @Flag(help: "Wrap the text in the model's chat template, as a user's message.")
  var chat = false

  @Flag(help: "Put the begin-of-text token first.")
  var bos = false

  @Flag(help: "The text is a list of ids: print what they stand for.")
  var decode = false

  @Flag(help: "Print JSON for programs.")
  var json = false

  func validate() throws {
    guard [ids, count, decode].count(where: { $0 }) <= 1 else {
      throw ValidationError("Choose one of --ids, --count and --decode.")
    }
    guard !chat || !(special || bos || decode) else {
      throw ValidationError("--chat decides about special tokens itself.")
    }
  }

  func run() throws {
    let model = try LanguageModel(opening: model)
    let tokenizer = try model.requireTokenizer()
    let text = try TextArgument.text(text)
    if decode {
      let words = text.split { $0.isWhitespace || $0 == "," }
      let tokens = try words.map { (word) throws(Refusal) in
        guard let token = Int32(word) else { throw Refusal(.notAToken, file: "text", "\"\(word)\" is not a token id") }
        return token
      }
      let decoded = try model.text(of: tokens)
      if json { Console.output(.members(["text": .string(decoded)])) } else { Console.output(decoded) }
      return
    }
    let tokens =
      try chat
      ? model.chatPrompt([.user(text)])
      : tokenizer.encode(text, addingBeginOfText: bos, parsingSpecialTokens: special)
    if json {
      Console.output(
        .members([
          "count": .integer(tokens.count), "ids": .array(tokens.map { .integer(Int($0)) }),
          "pieces": .array(tokens.map { .string(piece($0, tokenizer)) }),
        ]))
    } else if count {
      Console.output("\(tokens.count)")
    } else if ids {
      Console.output(tokens.map(String.init).joined(separator: " "))
    } else {
      for token in tokens { Console.output("\(token)\t\(piece(token, tokenizer))") }
    }
  }

  private func piece(_ token: Int32, _ tokenizer: Tokenizer) -> String {
    String(decoding: tokenizer.piece(token) ?? [], as: UTF8.self)
  }
}

extension Refusal.Name {
  static let notAToken = Refusal.Name("not-a-token", .badInput)
}
