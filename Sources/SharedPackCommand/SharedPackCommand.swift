import ArgumentParser
import CommandSupport
import FileAccess
import Glibc

/// `sharedpack`: the library at the command line. No logic lives here: commands parse arguments, call and print.
@main
struct SharedPackCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sharedpack",
    abstract: "Prepare long documents once and ask them many times, on a processor with little memory.",
    discussion: """
      A first walk:
        sharedpack convert Llama-2-7b model.spk
        sharedpack store build model.spk book.txt --store library
        sharedpack ask model.spk --store library --document book.txt "Who is it?"

      Data goes to standard output; progress and messages go to standard error.
      A text that starts with a hyphen goes after two: generate model.spk -- "-1 is"

      Exit status: 0 done, 1 a check failed, 64 usage, 65 bad input, 66 missing
      input, 73 cannot create, 74 input or output failed, 75 busy: try again.

      A terminal is shown control characters of texts and names as \\u001b; files
      and pipes get texts as they are.
      """,
    version: "0.1.0",
    subcommands: [
      ConvertCommand.self, InspectCommand.self, VerifyCommand.self, TokenizeCommand.self, StoreCommand.self,
      GenerateCommand.self, AskCommand.self, GoldenCommand.self, EvalCommand.self, TuneCommand.self,
      BenchCommand.self, ServeCommand.self,
    ])

  static func main() async {
    StandardDescriptors.occupy()
    // A reader that closes the pipe ends the program quietly, and a file that grows too large is an error to report.
    signal(SIGPIPE, SIG_DFL)
    signal(SIGXFSZ, SIG_IGN)
    do {
      guard Interruption.watch() else { throw ProcessLimits.noThread }
      try ProcessLimits.check()
      var command = try parseAsRoot()
      if var command = command as? any AsyncParsableCommand {
        try await command.run()
      } else {
        try command.run()
      }
    } catch let refusal as Refusal {
      // A file that has lost pages is why another fault was found.
      let refusal = MappingFaults.first ?? refusal
      Console.error("sharedpack: \(refusal.message)")
      Glibc.exit(refusal.name.exitStatus.rawValue)
    } catch {
      let (message, code) = (fullMessage(for: error), exitCode(for: error))
      if !message.isEmpty { if code.isSuccess { Console.output(message) } else { Console.error(lines: message) } }
      Glibc.exit(code.rawValue)
    }
  }
}
