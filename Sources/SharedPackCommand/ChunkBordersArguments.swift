import ArgumentParser
import CommandSupport
import SharedPack

/// Where texts are cut into chunks.
struct ChunkBordersArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Where texts are cut into chunks: sentences (after the last one that fits) or fixed (whole chunks, as the paper has it).",
      valueName: "borders"))
  var chunkBorders = NameArgument(ChunkBorders.sentences)

  var value: ChunkBorders { chunkBorders.value }
}
